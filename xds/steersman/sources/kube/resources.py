"""What is read of a cluster: the kinds that the registry knows, and where the API serves them."""

from dataclasses import dataclass

from steersman.model.objects import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource of the API. `versions`: those whose objects are understood, the preferred first. `optional`: a cluster need not have it;
    whether and in which version it does is found out by discovery."""

    kind: Kind
    plural: str
    group: str = ""
    versions: tuple[str, ...] = ("v1",)
    optional: bool = False

    @property
    def name(self) -> str:
        """As RBAC and kubectl call it: `services`, `gateways.networking.istio.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def api_version(self, version: str) -> str:
        return f"{self.group}/{version}" if self.group else version

    def path(self, version: str) -> str:
        """Of the collection over all namespaces."""
        return f"{self.root(version)}/{self.plural}"

    def root(self, version: str) -> str:
        """Of the version of the group, where its resources are listed."""
        return f"/apis/{self.group}/{version}" if self.group else f"/api/{version}"


RESOURCES = (
    Resource(kind=Kind.NAMESPACE, plural="namespaces"),
    Resource(kind=Kind.NODE, plural="nodes"),
    Resource(kind=Kind.SERVICE, plural="services"),
    Resource(kind=Kind.ENDPOINT_SLICE, plural="endpointslices", group="discovery.k8s.io"),
    Resource(kind=Kind.POD, plural="pods"),
    Resource(kind=Kind.GATEWAY, plural="gateways", group="networking.istio.io", versions=("v1", "v1beta1", "v1alpha3"), optional=True),
)
