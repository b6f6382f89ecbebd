"""Who gets which outbound listener: services ask (claims), one listener answers on each address and port, and the older service wins."""

from collections.abc import Iterable, Iterator

from steersman.graph import Reader
from steersman.model.config import OutboundTrafficPolicy
from steersman.model.ids import IPFamily, ServicePortKey
from steersman.model.mesh import Horizon, MeshService, Rule, ServicePort
from steersman.model.objects import Protocol
from steersman.model.proxy import Interception
from steersman.names import INBOUND_CAPTURE_PORT, OUTBOUND_CAPTURE_PORT, outbound_cluster, short_hosts
from steersman.registry.collections import CELL_INDEX, CELLS, MESH_SERVICES, PROXIES, VIPS, VISIBLE_SERVICES, CellKey
from steersman.registry.mesh import mesh_of
from steersman.views.collections import CLAIMS, INBOUNDS, OUTBOUND_PORTS, STANDPOINTS, VERDICTS, ClaimKey, VerdictKey
from steersman.views.horizon import UNKNOWN_CLUSTER, narrowed
from steersman.views.inbound import LOWEST_UNPRIVILEGED, interception_of, is_sidecar
from steersman.views.listeners import (
    CaptureListener,
    Claims,
    HTTPListener,
    OutboundListener,
    OutboundPorts,
    Refusal,
    Refused,
    RouteHosts,
    TCPListener,
    VirtualHost,
)
from steersman.views.scopes import Outbound

_ANY_ADDRESS = ("0.0.0.0", "::")


def outbound_of(read: Reader, node: str) -> Outbound | None:
    """Where a sidecar stands as far as its outbound listeners and routes go."""
    proxy, standpoint = read(PROXIES, node), read(STANDPOINTS, node)
    if proxy is None or standpoint is None or not is_sidecar(proxy):
        return None
    interception = interception_of(proxy)
    scope = Outbound(standpoint.namespace, standpoint.cluster, standpoint.network, standpoint.families, interception)
    if interception is not Interception.NONE:
        return scope
    bind = proxy.outbound_address
    inbound = read(INBOUNDS, node)
    taken: tuple[int, ...] = ()
    if inbound is not None and (bind in _ANY_ADDRESS or bind == proxy.app_address or bind in inbound.scope.addresses):
        taken = inbound.called
    return scope._replace(bind=bind, low_ports=proxy.unprivileged_ports, taken=taken)


def routes_scope(scope: Outbound) -> Outbound:
    """What of the scope its routes depend on: not the address that its listeners bind."""
    return scope._replace(bind="", taken=())


def family_of(address: str) -> IPFamily:
    """Of a canonical address."""
    return IPFamily.IPV6 if ":" in address else IPFamily.IPV4


# -- what a service asks for --------------------------------------------------------------------------------------------------


def claims_of(read: Reader, key: ClaimKey) -> Claims:
    """The listeners and routes that one service asks for: HTTP by Host on its port number, TCP at its addresses.

    Addresses: those of its VIPs that the proxy can use; for a headless service those of its pods that the proxy reaches directly. With NONE
    no destination is known, so a TCP service has but its port number.
    """
    service = read(MESH_SERVICES, key.service)
    if service is None:
        return Claims()
    http: list[ServicePortKey] = []
    tcp: list[tuple[ServicePortKey, TCPListener]] = []
    named: list[tuple[ServicePortKey, str]] = []
    refused: list[Refused] = []
    addresses = _vips(read, service, key)
    found_at = key.interception is Interception.NONE or service.headless or service.external_name or addresses
    for port in service.ports:
        asker = ServicePortKey(service.key.namespace, service.key.name, port.port)
        if port.protocol is Protocol.UDP:
            refused.append(Refused(service=asker, reason=Refusal.NOT_PROXIED))
            continue
        if not found_at or (service.external_name and not port.protocol.is_http and key.interception is not Interception.NONE):
            refused.append(Refused(service=asker, reason=Refusal.NO_ADDRESS))
        if port.protocol.is_http:
            http.append(asker)
            continue
        cluster = outbound_cluster(port.port, service.hostname)
        if key.interception is Interception.NONE:
            named.append((asker, cluster))
        elif service.headless:
            tcp += ((asker, TCPListener(pod, port.port, cluster, pod=True)) for pod in _pods(read, service, port, key))
        else:
            tcp += ((asker, TCPListener(address, port.port, cluster)) for address in addresses)
    return Claims(created=service.created, http=tuple(http), tcp=tuple(tcp), named=tuple(named), refused=tuple(refused))


def _vips(read: Reader, service: MeshService, key: ClaimKey) -> tuple[str, ...]:
    return tuple(address for address in read(VIPS, (service.key, key.cluster)) if family_of(address) in key.families)


def _pods(read: Reader, service: MeshService, port: ServicePort, key: ClaimKey) -> list[str]:
    """Addresses of the service's pods that are reached as they are, sorted: the same rule as for endpoints says which."""
    asked = ServicePortKey(service.key.namespace, service.key.name, port.port)
    horizon = narrowed(Horizon(key.network, key.families, cluster=key.cluster or UNKNOWN_CLUSTER), service)
    found: set[str] = set()
    for traits, _ in read(CELL_INDEX, asked).cells:
        if read(VERDICTS, VerdictKey(traits, horizon)).rule is Rule.DIRECT:
            found.update(endpoint.address for endpoint in read(CELLS, CellKey(asked, traits)) if traits.family in key.families)
    return sorted(found)


# -- who gets it --------------------------------------------------------------------------------------------------------------


def outbound_ports_of(read: Reader, scope: Outbound) -> OutboundPorts:
    """The outbound listeners of a scope. In disputes the older service wins (creationTimestamp, namespace, name); what the others don't get
    is kept with its holder."""
    by_age = []
    for service in read(VISIBLE_SERVICES, scope.namespace):
        claim = read(CLAIMS, ClaimKey(service, scope.cluster, scope.network, scope.families, scope.interception))
        by_age.append((claim.created, service, claim))
    claims = [claim for _, _, claim in sorted(by_age)]
    refused = [item for claim in claims for item in claim.refused]
    settle = _bound if scope.interception is Interception.NONE else _captured
    listeners, http = settle(scope, claims, refused)
    return OutboundPorts(
        listeners=tuple(sorted(listeners, key=lambda listener: listener.name)),
        http=tuple(sorted((number, tuple(askers)) for number, askers in http.items())),
        refused=tuple(refused),
    )


_HTTP = dict[int, list[ServicePortKey]]


def _captured(scope: Outbound, claims: list[Claims], refused: list[Refused]) -> tuple[list[OutboundListener], _HTTP]:
    """Captured connections go to the listener of the address that they were meant for, else of its port, else they pass (or don't)."""
    http: _HTTP = {}
    held: dict[tuple[str, int], tuple[ServicePortKey, TCPListener]] = {}
    for claim in claims:
        for asker in claim.http:
            if asker.port in (OUTBOUND_CAPTURE_PORT, INBOUND_CAPTURE_PORT):
                refused.append(Refused(service=asker, reason=Refusal.OWN_PORT, at=f"0.0.0.0:{asker.port}"))
            else:
                http.setdefault(asker.port, []).append(asker)
        for asker, listener in claim.tcp:
            holder, _ = held.setdefault((listener.address, listener.port), (asker, listener))
            if holder != asker:
                at = f"{listener.address}:{listener.port}"
                refused.append(Refused(service=asker, reason=Refusal.ADDRESS_TAKEN, at=at, holder=holder))
    capture = CaptureListener(scope.families, scope.interception is Interception.TPROXY)
    by_host = (HTTPListener(number, scope.families) for number in http)
    return [capture, *by_host, *(listener for _, listener in held.values())], http


def _bound(scope: Outbound, claims: list[Claims], refused: list[Refused]) -> tuple[list[OutboundListener], _HTTP]:
    """One address, so one listener a port: all HTTP services share one, a TCP service has it to itself."""
    http: _HTTP = {}
    holders: dict[int, ServicePortKey] = {}
    listeners: list[OutboundListener] = []
    for claim in claims:
        for asker, cluster in [*((asker, "") for asker in claim.http), *claim.named]:
            number = asker.port
            holder = holders.get(number)
            reason = _unbindable(scope, number)
            if reason is None and holder is not None and (cluster or number not in http):
                reason = Refusal.PORT_TAKEN
            if reason is not None:
                refused.append(Refused(service=asker, reason=reason, at=f"{scope.bind}:{number}", holder=holder))
                continue
            holders.setdefault(number, asker)
            if cluster:
                listeners.append(TCPListener(scope.bind, number, cluster, bound=True))
                continue
            if number not in http:
                listeners.append(HTTPListener(number, frozenset(), scope.bind))
            http.setdefault(number, []).append(asker)
    return listeners, http


def _unbindable(scope: Outbound, number: int) -> Refusal | None:
    if number in scope.taken:
        return Refusal.OWN_PORT
    return None if scope.low_ports or number >= LOWEST_UNPRIVILEGED else Refusal.LOW_PORT


# -- by which names -----------------------------------------------------------------------------------------------------------


def route_hosts_of(read: Reader, key: tuple[Outbound, int]) -> RouteHosts:
    """Every name and address by which a client may mean one of the HTTP services on a port, each with and without the port.

    Envoy refuses a route in which a domain stands twice: the older service keeps it. With NONE nobody knows where a client meant to go but
    by its Host, so a Host that names no service can't be passed on.
    """
    scope, number = key
    mesh = mesh_of(read)
    taken: dict[str, ServicePortKey] = {}
    hosts, refused = [], []
    for asker in dict(read(OUTBOUND_PORTS, scope).http).get(number, ()):
        service = read(MESH_SERVICES, asker.service)
        if service is None:
            continue
        names = short_hosts(service.key, mesh.domain, scope.namespace)
        addresses = (address for address in read(VIPS, (service.key, scope.cluster)) if family_of(address) in scope.families)
        mine = []
        for domain in with_and_without(number, (*names, *map(bracketed, addresses))):
            if taken.setdefault(domain, asker) == asker:
                mine.append(domain)
            else:
                refused.append(Refused(service=asker, reason=Refusal.HOST_TAKEN, at=domain, holder=taken[domain]))
        if mine:
            hosts.append(VirtualHost(f"{service.hostname}:{number}", outbound_cluster(number, service.hostname), tuple(mine)))
    passes = mesh.outbound_traffic_policy is OutboundTrafficPolicy.ALLOW_ANY and scope.interception is not Interception.NONE
    return RouteHosts(hosts=tuple(sorted(hosts)), unknown_passes=passes, refused=tuple(refused))


def with_and_without(port: int, hosts: Iterable[str]) -> Iterator[str]:
    for host in hosts:
        yield host
        yield f"{host}:{port}"


def bracketed(address: str) -> str:
    """As it stands in a URL or a Host header."""
    return f"[{address}]" if ":" in address else address
