"""On which network an endpoint is (rule 1), and who says so."""

from typing import NamedTuple

from steersman.graph import Reader
from steersman.model.ids import UNKNOWN_NETWORK, ClusterID, NetworkID, ObjectKey, label
from steersman.model.mesh import ObjectRef
from steersman.model.objects import Kind
from steersman.names import NETWORK_LABEL
from steersman.registry.addresses import AddressRange, parse_range
from steersman.registry.collections import CIDR_NETWORKS, CLUSTER_NETWORKS, CLUSTERS, NAMESPACES, NETWORK_SERVICES, SERVICES
from steersman.registry.mesh import mesh_of


class Placement(NamedTuple):
    """A network, and the object that placed something there; both empty where nothing did."""

    network: NetworkID
    by: ObjectRef | None


NOWHERE = Placement(UNKNOWN_NETWORK, None)


def cluster_network(read: Reader, cluster: ClusterID) -> Placement:
    """The network of a cluster's endpoints that carry no label: the system namespace's label, else the cluster's `network`, else the
    first network of mesh.networks that claims the cluster by fromRegistry.

    Source: DESIGN 4, rule 1; Istio asks mesh.networks last, too.
    """
    mesh = mesh_of(read)
    system = ObjectKey(cluster, "", mesh.root_namespace)
    namespace = read(NAMESPACES, system)
    if namespace is not None and (labelled := label(namespace.labels, NETWORK_LABEL)):
        return Placement(NetworkID(labelled), ObjectRef(Kind.NAMESPACE, system))
    config = read(CLUSTERS, cluster)
    if config is not None and config.network:
        return Placement(config.network, ObjectRef(Kind.CLUSTER, cluster))
    for network in mesh.networks:
        if any(claim.from_registry == cluster for claim in network.endpoints if claim.from_registry):
            return Placement(network.name, ObjectRef(Kind.MESH, ""))
    return NOWHERE


def cidr_networks(read: Reader, key: str) -> tuple[tuple[AddressRange, NetworkID], ...]:
    """Every fromCidr of mesh.networks, in the order of the file."""
    return tuple(
        (parse_range(claim.from_cidr), network.name) for network in mesh_of(read).networks for claim in network.endpoints if claim.from_cidr
    )


def network_at(read: Reader, cluster: ClusterID, packed: bytes) -> Placement:
    """The network of an address in a cluster that no label of its own places: the cluster's, else the first whose fromCidr holds it."""
    placement = Placement(*read(CLUSTER_NETWORKS, cluster))
    if placement.network:
        return placement
    for claimed, network in read(CIDR_NETWORKS, ""):
        if packed in claimed:
            return Placement(network, ObjectRef(Kind.MESH, ""))
    return NOWHERE


def networks(read: Reader, key: str) -> tuple[NetworkID, ...]:
    """Every network that may have gateways: those of mesh.networks, and those that a Service is labelled with. Sorted."""
    found = {network.name for network in mesh_of(read).networks}
    for service_key in read(NETWORK_SERVICES, ""):
        service = read(SERVICES, service_key)
        if service is not None:
            found.add(NetworkID(label(service.labels, NETWORK_LABEL)))
    return tuple(sorted(found))
