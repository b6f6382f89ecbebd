"""The interpreter of Envoy's validation rules refuses what is known to be wrong, and says where."""

from collections.abc import Callable

import pytest
from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.config.core.v3.base_pb2 import HeaderValue, TransportSocket
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiConfigSource
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.config.route.v3.route_components_pb2 import Route, RouteMatch, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import UInt32Value

from tests.support.pgv import problems

BAD: dict[str, tuple[Callable[[], Message], str]] = {
    "an empty name": (lambda: Cluster(), "Cluster.name: has length 0, must have at least 1"),
    "a duration of zero": (
        lambda: Cluster(name="c", connect_timeout=Duration()),
        "Cluster.connect_timeout: is , must be gt",
    ),
    "a number out of range, in a wrapper": (
        lambda: LbEndpoint(load_balancing_weight=UInt32Value(value=0)),
        "LbEndpoint.load_balancing_weight: is 0, must be gte 1",
    ),
    "a plain number out of range": (
        lambda: LocalityLbEndpoints(priority=129),
        "LocalityLbEndpoints.priority: is 129, must be lte 128",
    ),
    "a port that no socket has": (
        lambda: Address(socket_address=SocketAddress(address="10.0.0.1", port_value=65536)),
        "Address.socket_address.port_value: is 65536, must be lte 65535",
    ),
    "a oneof left open": (lambda: Address(), "Address: one of socket_address, pipe, envoy_internal_address is required"),
    "a list that may not be empty": (lambda: VirtualHost(name="v"), "VirtualHost.domains: has 0 items, needs at least 1"),
    "a required message left out": (lambda: Route(), "Route.match: is required"),
    "something wrong deep inside, in a list": (
        lambda: ClusterLoadAssignment(cluster_name="c", endpoints=[LocalityLbEndpoints(), LocalityLbEndpoints(priority=200)]),
        "ClusterLoadAssignment.endpoints[1].priority: is 200",
    ),
    "an enum's value that does not exist": (
        lambda: Cluster(name="c", circuit_breakers=CircuitBreakers(thresholds=[CircuitBreakers.Thresholds(priority=7)])),
        "Cluster.circuit_breakers.thresholds[0].priority: 7 is no value of RoutingPriority",
    ),
    "a header's name with a line break": (
        lambda: HeaderValue(key="a\nb", value="c"),
        "HeaderValue.key: 'a\\nb' is no valid header name or value",
    ),
    "a route name with a line break": (
        lambda: RouteMatch(prefix="/", headers=[{"name": "a\r\n"}]),
        "RouteMatch.headers[0].name: 'a\\r\\n' is no valid header name or value",
    ),
    "an empty matcher": (lambda: StringMatcher(), "StringMatcher: one of exact, prefix, suffix, safe_regex, contains, custom is required"),
    "an API type that does not exist": (lambda: ApiConfigSource(api_type=99), "ApiConfigSource.api_type: 99 is no value of ApiType"),
    "something wrong in an Any in a map": (
        lambda: Cluster(name="c", typed_extension_protocol_options={"x": _packed(TcpProxy(cluster="c"))}),
        "Cluster.typed_extension_protocol_options['x']<TcpProxy>.stat_prefix: has length 0, must have at least 1",
    ),
    "something wrong inside an Any": (
        lambda: Filter(name="tcp", typed_config=_packed(TcpProxy(stat_prefix="x"))),
        "Filter.typed_config<TcpProxy>: one of cluster, weighted_clusters is required",
    ),
}


def _packed(message: Message) -> Any:
    packing = Any()
    packing.Pack(message)
    return packing


@pytest.mark.parametrize("case", BAD)
def test_a_bad_message_is_refused_with_its_place(case: str) -> None:
    make, expected = BAD[case]
    found = problems(make())
    assert any(problem.startswith(expected) for problem in found), found


def test_a_good_message_passes() -> None:
    good = Cluster(
        name="c",
        type=Cluster.DiscoveryType.EDS,
        connect_timeout=Duration(seconds=1),
        eds_cluster_config=Cluster.EdsClusterConfig(eds_config={"ads": AggregatedConfigSource()}),
        transport_socket=TransportSocket(name="t", typed_config=_packed(TcpProxy(stat_prefix="x", cluster="y"))),
    )
    assert problems(good) == []
    assert problems(RouteConfiguration(virtual_hosts=[VirtualHost(name="v", domains=["*"])])) == []
    assert problems(Bootstrap()) == []
