"""On which ports a workload is called: node -> the scope of its inbound listeners and clusters."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from steersman.graph import Reader
from steersman.model.ids import Labels, ObjectKey, ServicePortKey, selects
from steersman.model.mesh import Standpoint
from steersman.model.objects import Port, Protocol, Service
from steersman.model.proxy import Interception, Proxy, ProxyType
from steersman.names import INBOUND_CAPTURE_PORT, OUTBOUND_CAPTURE_PORT
from steersman.registry.collections import (
    ALL_CLUSTERS,
    PODS,
    PROXIES,
    SERVICES,
    SERVICES_SELECTING,
    SLICES,
    SLICES_LISTING,
    ClusterAddress,
    LabelKey,
)
from steersman.registry.mesh import mesh_of, trust_domain_of
from steersman.views.collections import STANDPOINTS, TRUST_DOMAINS
from steersman.views.listeners import InboundPorts, Refusal, Refused
from steersman.views.scopes import Inbound, InboundPort

LOWEST_UNPRIVILEGED = 1024


class Target(NamedTuple):
    """A service port that leads to a workload. `port`: where at the workload; 0 for a name that its containers don't have. Sorts by
    (creationTimestamp, service, port), which settles disputes."""

    created: str
    service: ServicePortKey
    protocol: Protocol
    port: int


def trust_domains(read: Reader, key: str) -> tuple[str, ...]:
    """Every trust domain of the mesh, sorted."""
    own = (trust_domain_of(read, cluster) for cluster in read(ALL_CLUSTERS, ""))
    return tuple(sorted({mesh_of(read).trust_domain, *own}))


def interception_of(proxy: Proxy) -> Interception:
    """A bare Envoy is never captured."""
    return Interception.NONE if proxy.bare else proxy.interception


def is_sidecar(proxy: Proxy) -> bool:
    """Whether it has listeners of its own: a router's come from Gateways, a gRPC client has none."""
    return proxy.type is ProxyType.SIDECAR and not proxy.is_proxyless


def inbound_of(read: Reader, node: str) -> InboundPorts | None:
    """The ports on which services call this proxy's workload.

    They are the target ports of the Services whose selector matches its pod's labels. Where its pod is not known (a machine of its own),
    the labels that it told, and EndpointSlices of its namespace that list its address, stand in. The oldest service port with a target says
    the protocol. Source: Istio, pilot/pkg/serviceregistry/kube/controller/controller.go.
    """
    proxy, standpoint = read(PROXIES, node), read(STANDPOINTS, node)
    if proxy is None or standpoint is None or proxy.bare or not is_sidecar(proxy):
        return None
    domains = read(TRUST_DOMAINS, "")
    targets = sorted(targets_of(read, proxy, standpoint))
    refused = [Refused(service=found.service, reason=Refusal.NO_TARGET_PORT) for found in targets if not found.port]
    by_number = groupby(sorted(targets, key=attrgetter("port")), key=attrgetter("port"))
    ports = [_merged(number, list(same), refused) for number, same in by_number if number]
    called = tuple(port.port for port in ports)
    if interception_of(proxy) is not Interception.NONE:
        kept = [port for port in ports if _unreserved(port, refused)]
        scope = Inbound(tuple(kept), proxy.interception, domains, families=standpoint.families)
        return InboundPorts(scope=scope, called=called, refused=tuple(refused))
    addresses = _own_addresses(read, proxy, standpoint)
    free = tuple(address for address in addresses if address != proxy.app_address)
    kept = [port for port in ports if _bindable(port, free, proxy, refused)]
    scope = Inbound(tuple(kept), Interception.NONE, domains, addresses=free, app=proxy.app_address)
    return InboundPorts(scope=scope, called=called, refused=tuple(refused))


def targets_of(read: Reader, proxy: Proxy, standpoint: Standpoint) -> set[Target]:
    """The service ports that lead to the proxy's workload; UDP is nobody's business here."""
    return set(_targets_of(read, proxy, standpoint))


def _targets_of(read: Reader, proxy: Proxy, standpoint: Standpoint) -> Iterator[Target]:
    if standpoint.pod is not None:
        pod = read(PODS, standpoint.pod)
        if pod is not None:
            for service in _selecting(read, pod.key, pod.labels):
                yield from _targets(service, dict(pod.ports))
        return
    here = ObjectKey(standpoint.cluster, standpoint.namespace, "")
    for service in _selecting(read, here, standpoint.labels):
        yield from _targets(service, {})
    for address in {proxy.ip, *proxy.instance_ips} - {""}:
        yield from _listed(read, ClusterAddress(here.cluster, address), standpoint)


def _selecting(read: Reader, at: ObjectKey, labels: Labels) -> Iterator[Service]:
    for name, value in labels:
        for key in read(SERVICES_SELECTING, LabelKey(at.cluster, at.namespace, name, value)):
            service = read(SERVICES, key)
            if service is not None and selects(service.selector, labels):
                yield service


def _targets(service: Service, named: dict[str, int]) -> Iterator[Target]:
    for port in service.ports:
        if port.protocol is not Protocol.UDP:
            number = port.target_port if isinstance(port.target_port, int) else named.get(port.target_port, 0)
            yield _target(service, port, number)


def _listed(read: Reader, at: ClusterAddress, standpoint: Standpoint) -> Iterator[Target]:
    """Of Services of the proxy's namespace whose slices list an address of it; not those that select it."""
    for key in read(SLICES_LISTING, at):
        piece = read(SLICES, key)
        if piece is None or key.namespace != standpoint.namespace:
            continue
        service = read(SERVICES, ObjectKey(key.cluster, key.namespace, piece.service))
        if service is None or selects(service.selector, standpoint.labels):
            continue
        numbers = {port.name: port.port for port in piece.ports}
        for port in service.ports:
            number = numbers.get(port.name)
            if number is not None and port.protocol is not Protocol.UDP:
                yield _target(service, port, number)


def _target(service: Service, port: Port, number: int) -> Target:
    return Target(service.created, ServicePortKey(service.key.namespace, service.key.name, port.port), port.protocol, number)


def _merged(number: int, targets: list[Target], refused: list[Refused]) -> InboundPort:
    oldest = targets[0]
    refused += (
        Refused(service=other.service, reason=Refusal.PROTOCOL_CONFLICT, at=f"target port {number}", holder=oldest.service)
        for other in targets[1:]
        if (other.protocol.is_http, other.protocol.is_http2) != (oldest.protocol.is_http, oldest.protocol.is_http2)
    )
    return InboundPort(number, oldest.protocol, tuple(sorted({target.service for target in targets})))


def _own_addresses(read: Reader, proxy: Proxy, standpoint: Standpoint) -> tuple[str, ...]:
    """Where the workload's endpoints are, the primary first."""
    pod = read(PODS, standpoint.pod) if standpoint.pod is not None else None
    if pod is not None and pod.ips:
        return pod.ips
    return proxy.instance_ips or ((proxy.ip,) if proxy.ip else ())


def _unreserved(port: InboundPort, refused: list[Refused]) -> bool:
    if port.port not in (INBOUND_CAPTURE_PORT, OUTBOUND_CAPTURE_PORT):
        return True
    refused.extend(_refused(port, Refusal.OWN_PORT, ("0.0.0.0",)))
    return False


def _bindable(port: InboundPort, addresses: tuple[str, ...], proxy: Proxy, refused: list[Refused]) -> bool:
    if not addresses:
        refused.extend(_refused(port, Refusal.OWN_PORT, (proxy.app_address,)))
    elif port.port < LOWEST_UNPRIVILEGED and not proxy.unprivileged_ports:
        refused.extend(_refused(port, Refusal.LOW_PORT, addresses))
    else:
        return True
    return False


def _refused(port: InboundPort, reason: Refusal, addresses: Iterable[str]) -> Iterator[Refused]:
    for service in port.services:
        for address in addresses:
            yield Refused(service=service, reason=reason, at=f"{address}:{port.port}")
