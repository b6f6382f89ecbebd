"""Who gets which outbound listener: services ask (claims), one listener answers on each address and port, and the older service wins."""

from operator import attrgetter

import msgspec

from steersman.graph import Reader
from steersman.model.config import OutboundTrafficPolicy
from steersman.model.ids import IPFamily, ServiceKey, ServicePortKey
from steersman.model.mesh import Horizon, MeshService, Rule, ServicePort
from steersman.model.proxy import Interception
from steersman.names import INBOUND_CAPTURE_PORT, OUTBOUND_CAPTURE_PORT
from steersman.registry.collections import CELL_INDEX, CELLS, MESH_SERVICES, PROXIES, VIPS, VISIBLE_SERVICES, CellKey
from steersman.registry.mesh import mesh_of
from steersman.views.collections import CALLEES, CLAIMS, INBOUNDS, OUTBOUND_PORTS, STANDPOINTS, VERDICTS, VerdictKey
from steersman.views.horizon import UNKNOWN_CLUSTER, narrowed
from steersman.views.inbound import LOWEST_UNPRIVILEGED, interception_of, is_sidecar
from steersman.views.listeners import (
    CaptureListener,
    Claims,
    HTTPClaim,
    HTTPListener,
    OutboundListener,
    OutboundPorts,
    Refusal,
    Refused,
    RouteHosts,
    TCPListener,
    VirtualHost,
    with_and_without,
)
from steersman.views.scopes import Catchment, Outbound

_ANY_ADDRESS = ("0.0.0.0", "::")


def outbound_of(read: Reader, node: str) -> Outbound | None:
    """Where a sidecar stands as far as its outbound listeners and routes go."""
    proxy, standpoint = read(PROXIES, node), read(STANDPOINTS, node)
    if proxy is None or standpoint is None or not is_sidecar(proxy):
        return None
    interception = interception_of(proxy)
    scope = Outbound(
        standpoint.namespace, standpoint.cluster, standpoint.network, standpoint.families, interception, on_demand=proxy.on_demand_clusters
    )
    if interception is not Interception.NONE:
        return scope
    bind = proxy.outbound_address
    inbound = read(INBOUNDS, node)
    taken: tuple[int, ...] = ()
    if inbound is not None and (bind in _ANY_ADDRESS or bind == proxy.app_address or bind in inbound.scope.addresses):
        taken = inbound.called
    return scope._replace(bind=bind, low_ports=proxy.unprivileged_ports, taken=taken)


def routes_scope(scope: Outbound) -> Outbound:
    """What of the scope its routes depend on: not the address that its listeners bind, nor when the clusters come."""
    return scope._replace(bind="", taken=(), on_demand=False)


def family_of(address: str) -> IPFamily:
    """Of a canonical address."""
    return IPFamily.IPV6 if ":" in address else IPFamily.IPV4


# -- what a service asks for --------------------------------------------------------------------------------------------------


def claims_of(read: Reader, key: tuple[ServiceKey, Catchment]) -> Claims:
    """The listeners and routes that one service asks for: HTTP by Host on its port number, TCP at its addresses.

    Addresses: those of its VIPs that the proxy can use; for a headless service those of its pods that the proxy reaches directly. With NONE
    no destination is known, so a TCP service has but its port number; its first VIP only names the listener.
    """
    name, caught = key
    service = read(MESH_SERVICES, name)
    if service is None:
        return Claims()
    http: list[HTTPClaim] = []
    tcp: list[tuple[ServicePortKey, TCPListener]] = []
    named: list[tuple[ServicePortKey, str, str]] = []
    refused: list[Refused] = []
    bound = caught.interception is Interception.NONE
    addresses = tuple(address for address in read(VIPS, (name, caught.cluster)) if family_of(address) in caught.families)
    written = tuple(map(bracketed, addresses))
    callees = {callee.port.port: callee for callee in read(CALLEES, name)}
    found_at = bound or service.headless or service.external_name or addresses
    for port in service.ports:
        callee = callees.get(port.port)
        if callee is None:
            asker = ServicePortKey(service.key.namespace, service.key.name, port.port)
            refused.append(Refused(service=asker, reason=Refusal.NOT_PROXIED))
            continue
        asker, cluster = callee.port, callee.cluster
        if not found_at or (service.external_name and not port.protocol.is_http and not bound):
            refused.append(Refused(service=asker, reason=Refusal.NO_ADDRESS))
        if port.protocol.is_http:
            domains = (*callee.hosts, *with_and_without(port.port, written))
            host = VirtualHost(callee.authority, cluster, domains)
            http.append(HTTPClaim(asker, host))
        elif bound:
            named.append((asker, cluster, addresses[0] if addresses else ""))
        elif service.headless:
            tcp += ((asker, TCPListener(pod, port.port, cluster, pod=True)) for pod in _pods(read, service, port, caught))
        else:
            tcp += ((asker, TCPListener(address, port.port, cluster)) for address in addresses)
    return Claims(created=service.created, http=tuple(http), tcp=tuple(tcp), named=tuple(named), refused=tuple(refused))


def _pods(read: Reader, service: MeshService, port: ServicePort, caught: Catchment) -> list[str]:
    """Addresses of the service's pods that are reached as they are, sorted: the same rule as for endpoints says which."""
    asked = ServicePortKey(service.key.namespace, service.key.name, port.port)
    horizon = narrowed(Horizon(caught.network, caught.families, cluster=caught.cluster or UNKNOWN_CLUSTER), service)
    found: set[str] = set()
    for traits, _ in read(CELL_INDEX, asked).cells:
        if read(VERDICTS, VerdictKey(traits, horizon)).rule is Rule.DIRECT:
            found.update(endpoint.address for endpoint in read(CELLS, CellKey(asked, traits)) if traits.family in caught.families)
    return sorted(found)


# -- who gets it --------------------------------------------------------------------------------------------------------------


def outbound_ports_of(read: Reader, scope: Outbound) -> OutboundPorts:
    """The outbound listeners of a scope. In disputes the older service wins (creationTimestamp, namespace, name); what the others don't get
    is kept with its holder."""
    caught = Catchment(cluster=scope.cluster, network=scope.network, families=scope.families, interception=scope.interception)
    claims = [read(CLAIMS, (service, caught)) for service in read(VISIBLE_SERVICES, scope.namespace)]
    claims.sort(key=attrgetter("created"))  # what is of one age stays in order of (namespace, name)
    refused = [item for claim in claims for item in claim.refused]
    settle = _bound if scope.interception is Interception.NONE else _captured
    listeners, http = settle(scope, claims, refused)
    return OutboundPorts(
        listeners=tuple(sorted(listeners, key=lambda listener: listener.name)),
        http=tuple(sorted((number, tuple(askers)) for number, askers in http.items())),
        refused=tuple(refused),
    )


_HTTP = dict[int, list[HTTPClaim]]


def _captured(scope: Outbound, claims: list[Claims], refused: list[Refused]) -> tuple[list[OutboundListener], _HTTP]:
    """Captured connections go to the listener of the address that they were meant for, else of its port, else they pass (or don't)."""
    http: _HTTP = {}
    held: dict[tuple[str, int], tuple[ServicePortKey, TCPListener]] = {}
    for claim in claims:
        for by_host in claim.http:
            number = by_host.service.port
            if number in (OUTBOUND_CAPTURE_PORT, INBOUND_CAPTURE_PORT):
                refused.append(Refused(service=by_host.service, reason=Refusal.OWN_PORT, at=f"0.0.0.0:{number}"))
            else:
                http.setdefault(number, []).append(by_host)
        for asker, listener in claim.tcp:
            holder, _ = held.setdefault((listener.address, listener.port), (asker, listener))
            if holder != asker:
                at = f"{listener.address}:{listener.port}"
                refused.append(Refused(service=asker, reason=Refusal.ADDRESS_TAKEN, at=at, holder=holder))
    by_number = (HTTPListener(number, scope.families, on_demand=scope.on_demand) for number in http)
    at_addresses = (listener._replace(on_demand=True) if scope.on_demand else listener for _, listener in held.values())
    return [CaptureListener(scope.families, scope.interception is Interception.TPROXY), *by_number, *at_addresses], http


def _bound(scope: Outbound, claims: list[Claims], refused: list[Refused]) -> tuple[list[OutboundListener], _HTTP]:
    """One address, so one listener a port: all HTTP services share one, a TCP service has it to itself."""
    http: _HTTP = {}
    holders: dict[int, ServicePortKey] = {}
    listeners: list[OutboundListener] = []
    for claim in claims:
        for by_host in claim.http:
            number = by_host.service.port
            if _may_bind(scope, by_host.service, holders, number in http, refused):
                if number not in http:
                    listeners.append(HTTPListener(number, frozenset(), scope.bind, scope.on_demand))
                http.setdefault(number, []).append(by_host)
        for asker, cluster, vip in claim.named:
            if _may_bind(scope, asker, holders, False, refused):
                listeners.append(TCPListener(scope.bind, asker.port, cluster, bound=True, vip=vip, on_demand=scope.on_demand))
    return listeners, http


def _may_bind(scope: Outbound, asker: ServicePortKey, holders: dict[int, ServicePortKey], shared: bool, refused: list[Refused]) -> bool:
    """Whether a service may have its port's listener, or a share of it; if not, why is among the refused."""
    holder = holders.get(asker.port)
    reason = _unbindable(scope, asker.port) or (Refusal.PORT_TAKEN if holder is not None and not shared else None)
    if reason is not None:
        refused.append(Refused(service=asker, reason=reason, at=f"{scope.bind}:{asker.port}", holder=holder))
        return False
    holders.setdefault(asker.port, asker)
    return True


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
    taken: set[str] = set()
    hosts: list[VirtualHost] = []
    refused: list[Refused] = []
    claims = dict(read(OUTBOUND_PORTS, scope).http).get(number, ())
    for service, host in claims:
        if service.namespace == scope.namespace:
            host = host._replace(domains=(*host.domains, *with_and_without(number, (service.name,))))
        if not taken.isdisjoint(host.domains):
            refused += (Refused(service=service, reason=Refusal.HOST_TAKEN, at=domain) for domain in host.domains if domain in taken)
            host = host._replace(domains=tuple(domain for domain in host.domains if domain not in taken))
        taken.update(host.domains)
        if host.domains:
            hosts.append(host)
    policy = mesh_of(read).outbound_traffic_policy
    passes = policy is OutboundTrafficPolicy.ALLOW_ANY and scope.interception is not Interception.NONE
    return RouteHosts(hosts=tuple(sorted(hosts)), unknown_passes=passes, refused=_with_holders(refused, claims))


def _with_holders(refused: list[Refused], claims: tuple[HTTPClaim, ...]) -> tuple[Refused, ...]:
    holders = {domain: claim.service for claim in reversed(claims) for domain in claim.host.domains} if refused else {}
    return tuple(msgspec.structs.replace(item, holder=holders.get(item.at)) for item in refused)


def bracketed(address: str) -> str:
    """As it stands in a URL or a Host header."""
    return f"[{address}]" if ":" in address else address
