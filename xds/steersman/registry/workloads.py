"""What runs behind an address, placed: cluster, network, locality, identity."""

from steersman.graph import Reader
from steersman.model.ids import ClusterID, Locality, NetworkID, ObjectKey, label
from steersman.model.mesh import Host, ObjectRef, Workload
from steersman.model.objects import Kind, Pod
from steersman.names import NETWORK_LABEL, TLS_MODE_ISTIO, TLS_MODE_LABEL, spiffe_id
from steersman.registry.addresses import Address, parse_address
from steersman.registry.collections import CLUSTER_NETWORKS, CLUSTER_TRUST, HOSTS, NODES, PODS, HostKey
from steersman.registry.networks import NOWHERE, Placement, network_at


def host(read: Reader, key: HostKey) -> Host:
    """What a Kubernetes node and its cluster say of the pods there."""
    network, by = read(CLUSTER_NETWORKS, key.cluster)
    return Host(
        locality=node_locality(read, key.cluster, key.node),
        network=network,
        network_by=by,
        trust_domain=read(CLUSTER_TRUST, key.cluster),
    )


def workload(read: Reader, key: ObjectKey) -> Workload | None:
    """A pod as a workload; None where there is no such pod, or it has run to its end. Its network is that of its primary address."""
    pod = read(PODS, key)
    if pod is None or not pod.active:
        return None
    there = read(HOSTS, HostKey(key.cluster, pod.node))
    network, by = _primary_network(read, pod, there)
    return Workload(
        pod=pod.key,
        cluster=key.cluster,
        network=network,
        network_by=by,
        locality=parse_locality(pod.locality_label) if pod.locality_label else there.locality,
        node=pod.node,
        mtls=label(pod.labels, TLS_MODE_LABEL) == TLS_MODE_ISTIO,
        identity=spiffe_id(there.trust_domain, key.namespace, pod.service_account),
        labels=pod.labels,
    )


def pod_network(read: Reader, pod: Pod, address: Address | None) -> Placement:
    """The network of a pod at one of its addresses: its own label's, else that of the address in its cluster."""
    if labelled := label(pod.labels, NETWORK_LABEL):
        return Placement(NetworkID(labelled), ObjectRef(Kind.POD, pod.key))
    return network_at(read, pod.key.cluster, address.packed if address else b"")


def _primary_network(read: Reader, pod: Pod, there: Host) -> Placement:
    """The network of a pod at its primary address, as nearly always its cluster's."""
    if there.network and not label(pod.labels, NETWORK_LABEL):
        return Placement(there.network, there.network_by)
    return pod_network(read, pod, parse_address(pod.ips[0]) if pod.ips else None)


def unnamed_workload(read: Reader, cluster: ClusterID, address: Address | None, node: str) -> Workload:
    """What is behind an address of which no pod is known: no identity, and so no mTLS."""
    placement = network_at(read, cluster, address.packed) if address else NOWHERE
    return Workload(
        pod=None,
        cluster=cluster,
        network=placement.network,
        network_by=placement.by,
        locality=node_locality(read, cluster, node),
        node=node,
    )


def node_locality(read: Reader, cluster: ClusterID, name: str) -> Locality:
    """Where a node says it is; unknown for a node that isn't known."""
    node = read(NODES, ObjectKey(cluster, "", name)) if name else None
    return node.locality if node is not None else Locality()


def parse_locality(text: str) -> Locality:
    """The label istio-locality: region, zone and subzone, separated by dots, or by slashes where there is one."""
    parts = text.split("/" if "/" in text else ".", 2)
    return Locality(*(part.strip() for part in parts))
