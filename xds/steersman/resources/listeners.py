"""Outbound listeners: where a workload's own calls arrive, captured or made to a listener that is really bound."""

from collections.abc import Iterable, Iterator
from typing import assert_never

from envoy.config.core.v3.address_pb2 import Address
from envoy.config.core.v3.base_pb2 import Metadata, TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain, FilterChainMatch
from envoy.config.listener.v3.listener_pb2 import AdditionalAddress, Listener
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from steersman.graph import Reader
from steersman.model.config import OutboundTrafficPolicy
from steersman.model.ids import IPFamily
from steersman.names import BLACK_HOLE, OUTBOUND_CAPTURE_PORT, PASSTHROUGH, VIRTUAL_OUTBOUND, outbound_route
from steersman.registry.mesh import mesh_of
from steersman.resources.filters import http_inspector, http_routed_by, offering, tcp_proxy
from steersman.resources.messages import tcp_address
from steersman.resources.resource import Resource, of_message
from steersman.resources.tls import MESH_ALPN
from steersman.views.listeners import CaptureListener, HTTPListener, OutboundListener, TCPListener

LB_METADATA = "envoy.lb"
"""Endpoint metadata by which a cluster's subsets are picked."""
POD_ADDRESS = "address"
"""The key in it under which endpoints of headless services say their own address, so that a client that dialled one pod gets that one."""

_HTTP_ALPN = ("http/1.0", "http/1.1", "h2c")
"""What the HTTP inspector calls what it sees."""


def outbound_listener_of(read: Reader, key: OutboundListener) -> Resource:
    """The listener that the key describes; what reaches no service passes or not by the mesh's outboundTrafficPolicy."""
    match key:
        case CaptureListener():
            listener = _capture(key, _unknown_to(read))
        case HTTPListener():
            listener = _http_bound(key) if key.bind else _http_captured(key, _unknown_to(read))
        case TCPListener():
            listener = _tcp(key)
        case _:
            assert_never(key)
    listener.traffic_direction = TrafficDirection.OUTBOUND
    return of_message(key.name, listener)


def any_address(families: Iterable[IPFamily], port: int) -> Iterator[Address]:
    """The unspecified address of each family, IPv4 first."""
    for family in sorted(families):
        yield tcp_address("0.0.0.0" if family is IPFamily.IPV4 else "::", port)


def listening(name: str, addresses: Iterable[Address], **fields: object) -> Listener:
    """A listener on the first address, and on the others as well."""
    first, *others = addresses
    return Listener(name=name, address=first, additional_addresses=[AdditionalAddress(address=other) for other in others], **fields)


def _unknown_to(read: Reader) -> str:
    return PASSTHROUGH if mesh_of(read).outbound_traffic_policy is OutboundTrafficPolicy.ALLOW_ANY else BLACK_HOLE


def _capture(key: CaptureListener, unknown_to: str) -> Listener:
    """Connections that come to the capture port itself were captured from nowhere: passing them on would be a loop."""
    listener = listening(
        VIRTUAL_OUTBOUND,
        any_address(key.families, OUTBOUND_CAPTURE_PORT),
        filter_chains=[
            FilterChain(
                name=f"{VIRTUAL_OUTBOUND}-blackhole",
                filter_chain_match=FilterChainMatch(destination_port=UInt32Value(value=OUTBOUND_CAPTURE_PORT)),
                filters=[tcp_proxy(BLACK_HOLE)],
            ),
            _chain(f"{VIRTUAL_OUTBOUND}-catchall-tcp", tcp_proxy(unknown_to)),
        ],
        use_original_dst=BoolValue(value=True),
    )
    if key.transparent:
        listener.transparent.CopyFrom(BoolValue(value=True))
    return listener


def _http_captured(key: HTTPListener, unknown_to: str) -> Listener:
    """HTTP on a port, to whatever address. What isn't HTTP goes on as to a port of no service.

    Until a client speaks nobody knows, so the inspector waits for it without limit; a TCP service whose server speaks first has its own
    listener.
    """
    return listening(
        key.name,
        any_address(key.families, key.port),
        filter_chains=[
            FilterChain(name="http", filter_chain_match=FilterChainMatch(application_protocols=_HTTP_ALPN), filters=[_http(key)])
        ],
        default_filter_chain=_chain("passthrough", tcp_proxy(unknown_to)),
        listener_filters=[http_inspector()],
        listener_filters_timeout=Duration(),
        bind_to_port=BoolValue(value=False),
    )


def _http_bound(key: HTTPListener) -> Listener:
    return bound(listening(key.name, [tcp_address(key.bind, key.port)], filter_chains=[_chain("http", _http(key))]))


def _http(key: HTTPListener) -> Filter:
    return http_routed_by(outbound_route(key.port), f"outbound_{key.name}", on_demand=key.on_demand)


def _tcp(key: TCPListener) -> Listener:
    """What passes as bytes must not be called HTTP/2, as it would be for a moment where a port's protocol changes: clusters come first."""
    metadata = None
    if key.pod:
        metadata = Metadata()
        metadata.filter_metadata[LB_METADATA].update({POD_ADDRESS: key.address})
    chain = _chain("tcp", offering(MESH_ALPN), tcp_proxy(key.cluster, metadata=metadata, on_demand=key.on_demand))
    listener = listening(key.name, [tcp_address(key.address, key.port)], filter_chains=[chain])
    if key.bound:
        return bound(listener)
    listener.bind_to_port.CopyFrom(BoolValue(value=False))
    return listener


def bound(listener: Listener) -> Listener:
    """A listener that has its address to itself: were the port shared (Envoy's default), a second proxy on the same machine would silently
    take half of the connections instead of being refused."""
    listener.enable_reuse_port.CopyFrom(BoolValue(value=False))
    return listener


def _chain(name: str, *filters: Filter) -> FilterChain:
    return FilterChain(name=name, filters=filters)
