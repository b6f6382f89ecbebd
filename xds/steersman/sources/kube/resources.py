"""What is read of a cluster: the kinds that the registry knows, and where the API serves them."""

from dataclasses import dataclass

from steersman.model.objects import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource of the API. `kind`: of the facts that come of it, None for none. `versions`: those whose objects are understood, the
    preferred first. `optional`: a cluster need not have it, or need not let us read it. `namespace`, `labels`: only what is there, and has
    these labels ("KEY=VALUE") is read; "" for all."""

    kind: Kind | None
    plural: str
    group: str = ""
    versions: tuple[str, ...] = ("v1",)
    optional: bool = False
    namespace: str = ""
    labels: str = ""

    @property
    def discovered(self) -> bool:
        """Whether it is served, and in which version, is found out by discovery. The core group is the same everywhere."""
        return self.optional and bool(self.group)

    @property
    def private(self) -> bool:
        """Whether nothing of what it says may be repeated anywhere."""
        return self.kind is None

    @property
    def name(self) -> str:
        """As RBAC and kubectl call it: `services`, `gateways.networking.istio.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def api_version(self, version: str) -> str:
        return f"{self.group}/{version}" if self.group else version

    def path(self, version: str) -> str:
        """Of the collection, over all namespaces or in one."""
        return f"{self.root(version)}/{f'namespaces/{self.namespace}/' if self.namespace else ''}{self.plural}"

    @property
    def selected(self) -> tuple[tuple[str, str], ...]:
        """What every request for the collection says of which objects it is about."""
        return (("labelSelector", self.labels),) if self.labels else ()

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

REMOTE_SECRETS_LABEL = "istio/multiCluster"


def remote_secrets(namespace: str) -> Resource:
    """The Secrets with kubeconfigs of other clusters. No other Secret is asked for."""
    return Resource(kind=None, plural="secrets", optional=True, namespace=namespace, labels=f"{REMOTE_SECRETS_LABEL}=true")
