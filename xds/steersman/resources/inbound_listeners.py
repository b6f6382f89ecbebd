"""Inbound listeners: where a workload is called, with mTLS or in plaintext, and what its application learns of who calls."""

from collections.abc import Iterator

from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain, FilterChainMatch
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import Route, RouteAction, RouteMatch, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from steersman.graph import Reader
from steersman.model.proxy import Interception
from steersman.names import (
    BLACK_HOLE,
    INBOUND_CAPTURE_PORT,
    INBOUND_PASSTHROUGH,
    ISTIO_ALPN,
    VIRTUAL_INBOUND,
    inbound_cluster,
    tcp_listener,
)
from steersman.resources.filters import http_routed_to, original_dst, original_src, tcp_proxy, tls_inspector
from steersman.resources.listeners import any_address, bound, listening
from steersman.resources.messages import tcp_address
from steersman.resources.resource import Resource, of_message
from steersman.resources.tls import downstream_tls
from steersman.views.scopes import Inbound, InboundPort

HTTP_ALPN = ("h2", "http/1.1")
"""What HTTP is accepted as within TLS. A client that offers none of these speaks HTTP/1, or HTTP/2 at once, and is understood by its first
bytes."""
_TCP_ALPN = ("istio-peer-exchange", *HTTP_ALPN)

_SILENCE = Duration(seconds=5)
"""How long a client may say nothing before it is taken for one in plaintext that waits for the server to speak first."""


def inbound_names(scope: Inbound) -> Iterator[str]:
    """The names of a scope's listeners: one for all that is captured, or one for each address and port."""
    if scope.interception is not Interception.NONE:
        yield VIRTUAL_INBOUND
        return
    for address in scope.addresses:
        for port in scope.ports:
            yield tcp_listener(address, port.port)


def inbound_listener_of(read: Reader, key: tuple[Inbound, str]) -> Resource | None:
    """An inbound listener. Whoever calls with mTLS must be a workload of the mesh's trust domains; plaintext is taken as well
    (PERMISSIVE)."""
    scope, name = key
    if scope.interception is not Interception.NONE:
        return of_message(VIRTUAL_INBOUND, _captured(scope)) if name == VIRTUAL_INBOUND else None
    for address in scope.addresses:
        for port in scope.ports:
            if tcp_listener(address, port.port) == name:
                return of_message(name, _bound(scope, name, address, port))
    return None


def _captured(scope: Inbound) -> Listener:
    """All captured connections, by the port that they were meant for. A port of no service is passed to the application as it is, after the
    mTLS handshake where there is one. Connections to the capture port itself are refused: passing them on would be a loop."""
    chains = [
        FilterChain(
            name=f"{VIRTUAL_INBOUND}-blackhole",
            filter_chain_match=FilterChainMatch(destination_port=UInt32Value(value=INBOUND_CAPTURE_PORT)),
            filters=[tcp_proxy(BLACK_HOLE)],
        )
    ]
    for port in scope.ports:
        chains += _chains(scope, port, destination=port.port)
    chains += _tcp_chains(scope, VIRTUAL_INBOUND, tcp_proxy(INBOUND_PASSTHROUGH), destination=0)
    listener = _inbound(listening(VIRTUAL_INBOUND, any_address(scope.families, INBOUND_CAPTURE_PORT), filter_chains=chains))
    listener.listener_filters.insert(0, original_dst())
    if scope.interception is Interception.TPROXY:
        listener.listener_filters.insert(1, original_src())
        listener.transparent.CopyFrom(BoolValue(value=True))
    return listener


def _bound(scope: Inbound, name: str, address: str, port: InboundPort) -> Listener:
    listener = listening(name, [tcp_address(address, port.port)], filter_chains=_chains(scope, port, destination=0))
    return _inbound(bound(listener))


def _inbound(listener: Listener) -> Listener:
    listener.traffic_direction = TrafficDirection.INBOUND
    listener.listener_filters.append(tls_inspector())
    listener.listener_filters_timeout.CopyFrom(_SILENCE)
    listener.continue_on_listener_filters_timeout = True
    return listener


def _chains(scope: Inbound, port: InboundPort, destination: int) -> list[FilterChain]:
    name = inbound_cluster(port.port)
    if port.protocol.is_http:
        return _http_chains(scope, port.port, name, destination)
    return _tcp_chains(scope, name, tcp_proxy(name), destination)


def _http_chains(scope: Inbound, port: int, name: str, destination: int) -> list[FilterChain]:
    http = http_routed_to(_to_application(port), f"inbound_0.0.0.0_{port}")
    mtls = FilterChain(
        name=f"{name}-mtls",
        filter_chain_match=_match(destination, "tls", ISTIO_ALPN),
        transport_socket=downstream_tls(HTTP_ALPN, scope.trust_domains),
        filters=[http],
    )
    plaintext = FilterChain(name=f"{name}-plaintext", filter_chain_match=_match(destination, "raw_buffer"), filters=[http])
    return [mtls, plaintext]


def _tcp_chains(scope: Inbound, name: str, tcp: Filter, destination: int) -> list[FilterChain]:
    """TLS that isn't the mesh's is the application's own affair."""
    mtls = FilterChain(
        name=f"{name}-mtls",
        filter_chain_match=_match(destination, "tls", ISTIO_ALPN),
        transport_socket=downstream_tls(_TCP_ALPN, scope.trust_domains),
        filters=[tcp],
    )
    foreign = FilterChain(name=f"{name}-foreign-tls", filter_chain_match=_match(destination, "tls"), filters=[tcp])
    plaintext = FilterChain(name=f"{name}-plaintext", filter_chain_match=_match(destination, "raw_buffer"), filters=[tcp])
    return [mtls, foreign, plaintext]


def _match(destination: int, transport: str, alpn: tuple[str, ...] = ()) -> FilterChainMatch:
    """`destination`: the port that a captured connection was meant for; 0 for any."""
    match = FilterChainMatch(transport_protocol=transport, application_protocols=alpn)
    if destination:
        match.destination_port.CopyFrom(UInt32Value(value=destination))
    return match


def _to_application(port: int) -> RouteConfiguration:
    """Everything to the application, without a time-out of ours. The cluster may come a moment later than the listener."""
    name = inbound_cluster(port)
    route = Route(name="default", match=RouteMatch(prefix="/"), route=RouteAction(cluster=name, timeout=Duration()))
    return RouteConfiguration(
        name=name,
        virtual_hosts=[VirtualHost(name=f"inbound|http|{port}", domains=["*"], routes=[route])],
        validate_clusters=BoolValue(value=False),
    )
