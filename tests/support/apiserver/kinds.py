"""What the double serves: kinds, their groups and served versions, and what their bookmarks look like."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object. `versions`: those served, the preferred first. `zeros`: fields that a bookmark of this kind has beside its
    metadata: those that Go writes although they are empty. `custom`: defined by a CustomResourceDefinition."""

    group: str
    versions: tuple[str, ...]
    plural: str
    kind: str
    namespaced: bool = True
    zeros: Mapping[str, Any] = field(default_factory=dict)
    custom: bool = False
    status: bool = False

    @property
    def id(self) -> tuple[str, str]:
        """(group, plural)."""
        return self.group, self.plural

    @property
    def name(self) -> str:
        """As RBAC and `details` name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def api_version(self, version: str) -> str:
        return f"{self.group}/{version}" if self.group else version


_SPECS: Mapping[str, Any] = {"spec": {}, "status": {}}
DEFINITIONS = Resource("apiextensions.k8s.io", ("v1",), "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
BUILT_IN = (
    Resource("", ("v1",), "services", "Service", zeros={"spec": {}, "status": {"loadBalancer": {}}}, status=True),
    Resource("", ("v1",), "pods", "Pod", zeros={"spec": {"containers": None}, "status": {}}, status=True),
    Resource("", ("v1",), "nodes", "Node", namespaced=False, zeros=_SPECS, status=True),
    Resource("", ("v1",), "namespaces", "Namespace", namespaced=False, zeros=_SPECS, status=True),
    Resource("", ("v1",), "secrets", "Secret"),
    Resource("", ("v1",), "configmaps", "ConfigMap"),
    Resource(
        "discovery.k8s.io",
        ("v1",),
        "endpointslices",
        "EndpointSlice",
        zeros={"addressType": "", "endpoints": None, "ports": None},
    ),
    DEFINITIONS,
)

ACCOUNTS = Resource("", ("v1",), "serviceaccounts", "ServiceAccount")
ROLES = Resource("rbac.authorization.k8s.io", ("v1",), "clusterroles", "ClusterRole", namespaced=False)
BINDINGS = Resource("rbac.authorization.k8s.io", ("v1",), "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
AUTHORITY = (ACCOUNTS, ROLES, BINDINGS)
"""Who may do what: made by administrators, read by no mesh."""


def defined_by(definition: Object) -> Resource:
    """The resource of a CustomResourceDefinition."""
    spec = definition["spec"]
    served = [version["name"] for version in spec["versions"] if version.get("served", True)]
    return Resource(
        spec["group"],
        tuple(sorted(served, key=_priority)),
        spec["names"]["plural"],
        spec["names"]["kind"],
        namespaced=spec["scope"] == "Namespaced",
        custom=True,
    )


def definition_of(group: str, versions: tuple[str, ...], plural: str, kind: str, *, unserved: tuple[str, ...] = ()) -> Object:
    """A CustomResourceDefinition that takes whatever it is given. The first version is stored."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    listed = [
        {"name": name, "served": name not in unserved, "storage": place == 0, "schema": schema}
        for place, name in enumerate((*versions, *unserved))
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
            "versions": listed,
        },
    }


def _priority(version: str) -> tuple[int, str]:
    """GA before beta before alpha."""
    return (0 if "beta" not in version and "alpha" not in version else 1 if "beta" in version else 2), version
