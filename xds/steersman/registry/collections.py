"""The collections of the registry: the input tables, the indexes over them, and the mesh that is derived from them."""

from typing import Any

from steersman.graph import Derived, Index, Table
from steersman.model.clusters import ClusterHealth, OutagePolicy
from steersman.model.config import ClusterConfig, MeshConfig
from steersman.model.facts import Finding, FindingKey, Leaf, LeafKey, Resolved, Root
from steersman.model.ids import ClusterID, IPFamily, Key, Labels, NetworkID, ObjectKey, ServiceKey, ServicePortKey, label
from steersman.model.mesh import (
    Candidates,
    CellIndex,
    CellSources,
    Endpoint,
    Host,
    Identities,
    MeshService,
    NetworkGateways,
    ObjectRef,
    SourceCells,
    SourceEndpoints,
    Traits,
    Workload,
)
from steersman.model.objects import EndpointSlice, Gateway, Kind, Namespace, Node, Pod, Service, SliceMembers
from steersman.model.proxy import Proxy
from steersman.model.removals import HeldRemoval
from steersman.names import NETWORK_LABEL
from steersman.registry.addresses import AddressRange

# -- facts --------------------------------------------------------------------------------------------------------------------

MESH: Table[str, MeshConfig] = Table("mesh")
CLUSTERS: Table[ClusterID, ClusterConfig] = Table("clusters")
CLUSTER_STATES: Table[ClusterID, ClusterHealth] = Table("cluster_states")
"""Of the clusters that are read from their API."""
HELD_REMOVALS: Table[ObjectRef, HeldRemoval] = Table("held_removals")
"""Mass removals that are held: by them explain knows what isn't the API's any more. Nothing is computed from them."""

SERVICES: Table[ObjectKey, Service] = Table("services")
SLICES: Table[ObjectKey, EndpointSlice] = Table("endpointslices", indexed=lambda piece: piece.members)
PODS: Table[ObjectKey, Pod] = Table("pods", key_of=lambda pod: pod.key)
NODES: Table[ObjectKey, Node] = Table("nodes")
NAMESPACES: Table[ObjectKey, Namespace] = Table("namespaces")
GATEWAYS: Table[ObjectKey, Gateway] = Table("gateways")
PROXIES: Table[str, Proxy] = Table("proxies")
RESOLVED: Table[str, Resolved] = Table("resolved", wanted=True)
LEAVES: Table[LeafKey, Leaf] = Table("leaves", wanted=True)
ROOTS: Table[str, Root] = Table("roots")
FINDINGS: Table[FindingKey, Finding] = Table("findings")
"""Findings are kept with the other facts so that they come and go with their cause; nothing is computed from them."""

TABLES: dict[Kind, Table[Any, Any]] = {
    Kind.MESH: MESH,
    Kind.CLUSTER: CLUSTERS,
    Kind.CLUSTER_STATE: CLUSTER_STATES,
    Kind.HELD_REMOVAL: HELD_REMOVALS,
    Kind.SERVICE: SERVICES,
    Kind.ENDPOINT_SLICE: SLICES,
    Kind.POD: PODS,
    Kind.NODE: NODES,
    Kind.NAMESPACE: NAMESPACES,
    Kind.GATEWAY: GATEWAYS,
    Kind.PROXY: PROXIES,
    Kind.RESOLVED: RESOLVED,
    Kind.LEAF: LEAVES,
    Kind.ROOT: ROOTS,
    Kind.FINDING: FINDINGS,
}

# -- indexes ------------------------------------------------------------------------------------------------------------------


class ClusterAddress(Key, frozen=True, order=True):
    """An address as one cluster means it: two clusters may use the same one for different things."""

    cluster: ClusterID
    address: str


class LabelKey(Key, frozen=True, order=True):
    """A label of objects in one namespace of one cluster."""

    cluster: ClusterID
    namespace: str
    label: str
    value: str


class LabelsKey(Key, frozen=True, order=True):
    """All labels of objects in one namespace of one cluster."""

    cluster: ClusterID
    namespace: str
    labels: Labels


def labels_in(key: LabelsKey) -> tuple[LabelKey, ...]:
    """Each of them."""
    return tuple(LabelKey(key.cluster, key.namespace, name, value) for name, value in key.labels)


class FamilyKey(Key, frozen=True, order=True):
    """One cluster's Service, and an address family of its EndpointSlices."""

    service: ObjectKey
    family: IPFamily


ALL_CLUSTERS: Index[str, ClusterID] = Index("clusters.all", CLUSTERS, lambda cluster: ("",))
ALL_SERVICES: Index[str, ObjectKey] = Index("services.all", SERVICES, lambda service: ("",))
SERVICES_NAMED: Index[ServiceKey, ObjectKey] = Index(
    "services.named", SERVICES, lambda service: (ServiceKey(service.key.namespace, service.key.name),)
)
SERVICES_AT: Index[ClusterAddress, ObjectKey] = Index(
    "services.at", SERVICES, lambda service: tuple(ClusterAddress(service.key.cluster, ip) for ip in service.cluster_ips)
)
SERVICES_OF_NETWORK: Index[NetworkID, ObjectKey] = Index(
    "services.of_network",
    SERVICES,
    lambda service: (NetworkID(label(service.labels, NETWORK_LABEL)),) if label(service.labels, NETWORK_LABEL) else (),
)
NETWORK_SERVICES_IN: Index[tuple[ClusterID, str], ObjectKey] = Index(
    "services.of_network.in",
    SERVICES,
    lambda service: ((service.key.cluster, service.key.namespace),) if label(service.labels, NETWORK_LABEL) else (),
)
NETWORK_SERVICES: Index[str, ObjectKey] = Index(
    "services.of_any_network", SERVICES, lambda service: ("",) if label(service.labels, NETWORK_LABEL) else ()
)
LIMITED_SERVICES: Index[str, ObjectKey] = Index("services.limited", SERVICES, lambda service: ("",) if service.export_to else ())
"""Services with an exportTo: all others are everybody's."""

SERVICES_SELECTING: Index[LabelKey, ObjectKey] = Index(
    "services.selecting",
    SERVICES,
    lambda service: tuple(LabelKey(service.key.cluster, service.key.namespace, name, value) for name, value in service.selector[:1]),
)
"""By the first label of the selector: whoever selects a pod stands under one of its labels."""

SLICES_OF: Index[ObjectKey, ObjectKey] = Index(
    "endpointslices.of", SLICES, lambda piece: (ObjectKey(piece.key.cluster, piece.key.namespace, piece.service),)
)
SLICES_OF_FAMILY: Index[FamilyKey, ObjectKey] = Index(
    "endpointslices.of_family",
    SLICES,
    lambda piece: (FamilyKey(ObjectKey(piece.key.cluster, piece.key.namespace, piece.service), piece.family),),
)


def _listed(piece: EndpointSlice) -> list[ClusterAddress]:
    members = piece.members
    if all(members.pods):
        return []
    entries = zip(members.addresses, members.pods, members.places, strict=True)
    return [ClusterAddress(piece.key.cluster, address) for address, pod, place in entries if not (pod or place.flaw)]


SLICES_LISTING: Index[ClusterAddress, ObjectKey] = Index("endpointslices.listing", SLICES, _listed)
"""By the address of an entry that names no Pod; those that name one are found by it."""
PODS_AT: Index[str, ObjectKey] = Index("pods.at", PODS, lambda pod: pod.ips if pod.active else ())
"""By address, in whatever cluster: with the cluster in it there would be a key more for each pod."""
PODS_LABELLED: Index[LabelsKey, ObjectKey] = Index(
    "pods.labelled", PODS, lambda pod: (LabelsKey(pod.key.cluster, pod.key.namespace, pod.labels),) if pod.labels else ()
)
LABELS_WITH: Index[LabelKey, LabelsKey] = Index("labels.with", PODS_LABELLED, labels_in)
"""The labels of pods by each that is among them: replicas have all of theirs in common, so that a pod stands in one bucket, not in as many
as it has labels."""
NODES_IN: Index[ClusterID, ObjectKey] = Index("nodes.in", NODES, lambda node: (node.key.cluster,))
GATEWAYS_IN: Index[ClusterID, ObjectKey] = Index("gateways.in", GATEWAYS, lambda gateway: (gateway.key.cluster,))

INDEXES: tuple[Index[Any, Any], ...] = (
    ALL_CLUSTERS,
    ALL_SERVICES,
    SERVICES_NAMED,
    SERVICES_AT,
    SERVICES_OF_NETWORK,
    NETWORK_SERVICES_IN,
    NETWORK_SERVICES,
    LIMITED_SERVICES,
    SERVICES_SELECTING,
    SLICES_OF,
    SLICES_LISTING,
    SLICES_OF_FAMILY,
    PODS_AT,
    PODS_LABELLED,
    LABELS_WITH,
    NODES_IN,
    GATEWAYS_IN,
)

# -- the mesh -----------------------------------------------------------------------------------------------------------------


class HostKey(Key, frozen=True, order=True):
    """A Kubernetes node by name, or a cluster where `node` is empty."""

    cluster: ClusterID
    node: str


class CellKey(Key, frozen=True, order=True):
    """Endpoints of one service port that no rule can tell apart."""

    port: ServicePortKey
    traits: Traits


SERVICE_KEYS: Derived[str, tuple[ServiceKey, ...]] = Derived("service_keys")
"""Every service of the mesh, sorted; key "" ."""

MESH_SERVICES: Derived[ServiceKey, MeshService | None] = Derived("mesh_services")

VISIBLE_SERVICES: Derived[str, tuple[ServiceKey, ...]] = Derived("visible_services")
"""By the client's namespace: the services that exportTo lets it use, sorted."""

CLUSTER_NETWORKS: Derived[ClusterID, tuple[NetworkID, ObjectRef | None]] = Derived("cluster_networks")
"""The network of a cluster's endpoints that no label of their own places, and what says so (rule 1 without fromCidr)."""

CLUSTER_TRUST: Derived[ClusterID, str] = Derived("cluster_trust")
"""The trust domain of a cluster's identities."""

HOSTS: Derived[HostKey, Host] = Derived("hosts")
"""All that decides a pod's place and is not the pod's own: one edge for each pod, instead of one for each part."""

CLUSTER_OUTAGES: Derived[ClusterID, OutagePolicy] = Derived("cluster_outages")
"""What holds for a cluster's endpoints while its API is silent: KEEP where nothing does."""

CIDR_NETWORKS: Derived[str, tuple[tuple[AddressRange, NetworkID], ...]] = Derived("cidr_networks")
"""The fromCidr of mesh.networks, in the order of the file; key ""."""

NETWORKS: Derived[str, tuple[NetworkID, ...]] = Derived("networks")
"""The networks that may have gateways, sorted; key ""."""

WORKLOADS: Derived[ObjectKey, Workload | None] = Derived("workloads")
"""By Pod; None where there is none, or it has run to its end. Most of what happens to a Pod changes nothing here."""

TWINS: Derived[ObjectKey, frozenset[str]] = Derived("twins")
"""Of a Service with EndpointSlices of both families: the Pods that stand ready in those of either."""

ENDPOINT_SOURCES: Derived[ObjectKey, tuple[ObjectRef, ...]] = Derived("endpoint_sources")
"""By a cluster's Service: what lists its endpoints, as keys of SOURCE_CELLS."""

SLICE_MEMBERS: Derived[ObjectKey, SliceMembers | None] = Derived("slice_members")
"""By EndpointSlice: who stands in it. Readiness comes and goes, and changes nothing here."""

SLICE_CANDIDATES: Derived[ObjectKey, Candidates] = Derived("slice_candidates")
"""By EndpointSlice: what its entries are while they are ready."""

SLICE_ENDPOINTS: Derived[ObjectKey, SourceEndpoints] = Derived("slice_endpoints")
"""By EndpointSlice."""

POD_CANDIDATES: Derived[ObjectKey, Candidates] = Derived("pod_candidates")
"""By a cluster's Service that has no EndpointSlices: from the Pods that it selects."""

POD_ENDPOINTS: Derived[ObjectKey, SourceEndpoints] = Derived("pod_endpoints")
"""Likewise."""

SOURCE_CELLS: Derived[ObjectRef, SourceCells] = Derived("source_cells")
"""By EndpointSlice, or by Service where its Pods are listed."""

SOURCE_IDENTITIES: Derived[ObjectRef, Identities] = Derived("source_identities")

CELL_INDEX: Derived[ServicePortKey, CellIndex] = Derived("cell_index")

CELL_SOURCES: Derived[ServicePortKey, CellSources] = Derived("cell_sources")

CELLS: Derived[CellKey, tuple[Endpoint, ...]] = Derived("cells")
"""Sorted by (address, port), each address once."""

IDENTITIES: Derived[ServiceKey, Identities] = Derived("identities")

NETWORK_GATEWAYS: Derived[NetworkID, NetworkGateways] = Derived("network_gateways")

GATEWAY_ADDRESSES: Derived[str, frozenset[str]] = Derived("gateway_addresses")
"""Of all networks' gateways; key ""."""

VIPS: Derived[tuple[ServiceKey, ClusterID], tuple[str, ...]] = Derived("vips")
"""The addresses by which a proxy in that cluster knows the service: its own cluster's, else the lowest other cluster's by name
of those that nothing local holds, else none."""
