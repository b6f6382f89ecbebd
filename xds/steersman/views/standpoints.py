"""Where a connected proxy stands: what its Node says, and what the mesh knows where it says nothing. Nothing is guessed."""

from typing import NamedTuple

from steersman.graph import Reader
from steersman.model.ids import UNKNOWN_NETWORK, IPFamily, Labels, Locality, NetworkID, SpiffeID, selects
from steersman.model.mesh import ObjectRef, Standpoint, Workload
from steersman.model.objects import Kind, Pod
from steersman.model.proxy import Proxy, ProxyType
from steersman.names import spiffe_id
from steersman.registry.addresses import Address, parse_address
from steersman.registry.collections import (
    CLUSTER_NETWORKS,
    CLUSTER_TRUST,
    CLUSTERS,
    PODS,
    PODS_AT,
    PROXIES,
    SERVICES,
    WORKLOADS,
)
from steersman.registry.gateways import gateway_services
from steersman.registry.workloads import pod_network

_BOTH = frozenset(IPFamily)
DEFAULT_SERVICE_ACCOUNT = "default"
"""The account of a pod that names none."""


class _Own(NamedTuple):
    """The proxy's own pod, with what is known of it as a workload."""

    pod: Pod
    workload: Workload


def standpoint(read: Reader, node_id: str) -> Standpoint | None:
    """Where a proxy stands, by DESIGN 3.3; None where no such proxy is connected. Every answer that its Node didn't give is said in
    `inferred`."""
    proxy = read(PROXIES, node_id)
    if proxy is None:
        return None
    said = list(proxy.inferred)
    if proxy.cluster and read(CLUSTERS, proxy.cluster) is None:
        said.append(f"cluster {proxy.cluster} is not configured here: nothing is known of its objects")
    own = _own_pod(read, proxy, said)
    identity = _identity(read, proxy, own, said)
    labels = own.pod.labels if own is not None else proxy.labels
    return Standpoint(
        cluster=proxy.cluster,
        network=_network(read, proxy, own, said),
        namespace=proxy.namespace,
        families=_families(proxy, said),
        view=proxy.network_view,
        locality=_locality(proxy, own, said),
        node=own.pod.node if own is not None else "",
        pod=own.pod.key if own is not None else None,
        network_gateway=_fronts_a_network(read, proxy, labels, said),
        plaintext=proxy.is_proxyless,
        identity=identity,
        trust_domain=read(CLUSTER_TRUST, proxy.cluster),
        labels=labels,
        inferred=tuple(said),
    )


def _own_pod(read: Reader, proxy: Proxy, said: list[str]) -> _Own | None:
    """The pod with the proxy's IP in its cluster. Several can have one (on the host's network): the one of the proxy's name, else the
    first."""
    address = parse_address(proxy.ip)
    if address is None or not proxy.cluster:
        return None
    here = [key for key in read(PODS_AT, address.text) if key.cluster == proxy.cluster]
    found = [pod for key in here if (pod := read(PODS, key)) is not None]
    if not found:
        return None
    named = [pod for pod in found if (pod.key.namespace, pod.key.name) == (proxy.namespace, proxy.name)]
    pod = (named or found)[0]
    workload = read(WORKLOADS, pod.key)
    if workload is None:
        return None
    one_of = f", one of {len(found)}" if len(found) > 1 and not named else ""
    said.append(f"its pod is {ObjectRef(Kind.POD, pod.key)}, by the address {address.text}{one_of}")
    return _Own(pod, workload)


def _network(read: Reader, proxy: Proxy, own: _Own | None, said: list[str]) -> NetworkID:
    if proxy.network:
        return proxy.network
    if own is not None:
        network, by = pod_network(read, own.pod, parse_address(proxy.ip))
        if network:
            said.append(f"network {network} is that of its pod, by {by}")
            return network
    network, by = read(CLUSTER_NETWORKS, proxy.cluster) if proxy.cluster else (UNKNOWN_NETWORK, None)
    if network:
        said.append(f"network {network} is that of its cluster, by {by}")
        return network
    said.append("its network is unknown: neither NETWORK, nor a pod, nor its cluster tells it")
    return UNKNOWN_NETWORK


def _families(proxy: Proxy, said: list[str]) -> frozenset[IPFamily]:
    own = _families_of(proxy.instance_ips)
    if own:
        return own
    by_ip = _families_of((proxy.ip,))
    if by_ip:
        (family,) = by_ip
        said.append(f"it can use {family} only, by its address {proxy.ip} and no INSTANCE_IPS")
        return by_ip
    said.append("it can use IPv4 and IPv6, as no address of it is known")
    return _BOTH


def _families_of(addresses: tuple[str, ...]) -> frozenset[IPFamily]:
    parsed: list[Address | None] = [parse_address(text) for text in addresses]
    return frozenset(address.family for address in parsed if address is not None)


def _locality(proxy: Proxy, own: _Own | None, said: list[str]) -> Locality:
    if proxy.locality != Locality() or own is None:
        return proxy.locality
    found = own.workload.locality
    if found != Locality():
        said.append(f"locality {found} is that of its pod")
    return found


def _identity(read: Reader, proxy: Proxy, own: _Own | None, said: list[str]) -> SpiffeID:
    """Its service account's. Where none is told it is `default`, as for a pod that names none: a proxy without any would wait for its
    certificate (and Envoy with all its clusters, for 15 s at each start)."""
    if proxy.service_account:
        return spiffe_id(read(CLUSTER_TRUST, proxy.cluster), proxy.namespace, proxy.service_account)
    if own is not None:
        said.append(f"identity {own.workload.identity} is that of its pod's service account")
        return own.workload.identity
    identity = spiffe_id(read(CLUSTER_TRUST, proxy.cluster), proxy.namespace, DEFAULT_SERVICE_ACCOUNT)
    said.append(f"identity {identity}: neither SERVICE_ACCOUNT nor a pod tells another")
    return identity


def _fronts_a_network(read: Reader, proxy: Proxy, labels: Labels, said: list[str]) -> bool:
    """Whether a router is behind a Service that is some network's gateway, by label or by mesh.networks."""
    if proxy.type is not ProxyType.ROUTER or not proxy.cluster:
        return False
    for service_key in gateway_services(read, proxy.cluster, proxy.namespace):
        service = read(SERVICES, service_key)
        if service is not None and selects(service.selector, labels):
            said.append(f"it is a network's gateway, by {ObjectRef(Kind.SERVICE, service_key)}")
            return True
    return False
