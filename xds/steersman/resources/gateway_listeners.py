"""A router's listeners: what its Istio Gateways' servers ask for, HTTP by Host and TLS by SNI."""

from collections.abc import Iterator

from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import FilterChain, FilterChainMatch
from envoy.config.listener.v3.listener_pb2 import Listener

from steersman.graph import Reader
from steersman.names import BLACK_HOLE, ISTIO_ALPN, SNI_PREFIX
from steersman.resources.collections import PASSTHROUGH_CHAINS
from steersman.resources.filters import http_routed_by, only_sni, sni_cluster, tcp_proxy, tls_inspector
from steersman.resources.inbound_listeners import HTTP_ALPN
from steersman.resources.listeners import any_address, listening
from steersman.resources.messages import tcp_address
from steersman.resources.resource import Resource, of_parts
from steersman.resources.tls import downstream_tls
from steersman.views.collections import SERVERS, TRUST_DOMAINS
from steersman.views.listeners import MutualServer, ServerKind, ServerPort
from steersman.views.scopes import Router


def router_listener_of(read: Reader, key: tuple[Router, str]) -> Resource | None:
    """The listener of one port of a router."""
    scope, name = key
    port = next((found for found in read(SERVERS, scope).ports if found.name == name), None)
    if port is None:
        return None
    head, tail = _before_chains(scope, port), Listener(traffic_direction=TrafficDirection.OUTBOUND)
    if port.kind is ServerKind.HTTP:
        head.filter_chains.add(name="http").filters.append(http_routed_by(port.route, f"outbound_{name}", edge=True))
    else:
        tail.listener_filters.append(tls_inspector())
        head.filter_chains.extend(_mutual(server, read(TRUST_DOMAINS, ""), name) for server in port.mutual)
        head.filter_chains.extend(_by_sni(port.patterns or (), name))
    chains = port.passthrough if port.patterns is None else ()
    tail.additional_addresses.extend(head.additional_addresses)
    head.ClearField("additional_addresses")
    return of_parts(name, (_encoded(head), *(read(PASSTHROUGH_CHAINS, admitted.sni) for admitted in chains), _encoded(tail)))


def passthrough_chain_of(read: Reader, sni: str) -> bytes:
    """The filter chain of one service port behind an AUTO_PASSTHROUGH server, as a field of a Listener: TLS that names it, from a client of
    the mesh, goes to the cluster of that name as it is."""
    chain = FilterChain(
        name=sni,
        filter_chain_match=FilterChainMatch(server_names=[sni], application_protocols=ISTIO_ALPN),
        filters=[tcp_proxy(sni)],
    )
    return _encoded(Listener(filter_chains=[chain]))


def _before_chains(scope: Router, port: ServerPort) -> Listener:
    return listening(port.name, [tcp_address(port.bind, port.port)] if port.bind else any_address(scope.families, port.port))


def _mutual(server: MutualServer, trust_domains: tuple[str, ...], listener: str) -> FilterChain:
    """HTTP within mTLS that ends here, by the mesh's own certificates."""
    names = () if "*" in server.server_names else server.server_names
    return FilterChain(
        name=server.route,
        filter_chain_match=FilterChainMatch(server_names=names, transport_protocol="tls"),
        transport_socket=downstream_tls(HTTP_ALPN, trust_domains),
        filters=[http_routed_by(server.route, f"outbound_{listener}", edge=True, tells_peer=True)],
    )


def _by_sni(patterns: tuple[str, ...], listener: str) -> Iterator[FilterChain]:
    """One chain for all admitted services: the SNI itself names the cluster. Only passthrough clusters may be named so: any other would
    have the gateway itself vouch for whoever calls."""
    if patterns:
        names = () if "*" in patterns else patterns
        yield FilterChain(
            name="sni-cluster",
            filter_chain_match=FilterChainMatch(server_names=names, application_protocols=ISTIO_ALPN),
            filters=[only_sni(SNI_PREFIX, f"{listener}."), sni_cluster(), tcp_proxy(BLACK_HOLE)],
        )


def _encoded(piece: Listener) -> bytes:
    encoded: bytes = piece.SerializeToString(deterministic=True)
    return encoded
