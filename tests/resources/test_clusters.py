"""Clusters: what decides one, and what must not."""

from typing import Any

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

from steersman.model.objects import Protocol, ServiceType, SliceEndpoint
from steersman.model.proxy import Interception
from steersman.names import BLACK_HOLE, INBOUND_PASSTHROUGH, PASSTHROUGH
from steersman.resources.clusters import HTTP_OPTIONS
from steersman.resources.collections import (
    FIXED_CLUSTERS,
    INBOUND_CLUSTERS,
    OUTBOUND_CLUSTERS,
    PASSTHROUGH_CLUSTERS,
    PROXYLESS_CLUSTERS,
    InboundClusterKey,
)
from steersman.resources.resource import Resource
from steersman.resources.tls import NOBODY
from tests.support.mesh import Mesh, cluster, pod, port, port_key, service, slice_of
from tests.support.pgv import problems, unpacked

HOST = "reviews.default.svc.cluster.local"
REVIEWS = port_key("reviews")


def decoded(resource: Resource | None) -> Any:
    assert resource is not None
    message = Cluster.FromString(resource.body)
    assert problems(message) == []
    assert message.name == resource.name
    return message


def mtls_of(message: Any) -> Any:
    """The TLS context with which a cluster calls endpoints that are labelled tlsMode istio."""
    match = message.transport_socket_matches[0]
    assert dict(match.match) == {"tlsMode": "istio"}
    context = unpacked(match.transport_socket.typed_config)
    assert isinstance(context, UpstreamTlsContext)
    return context


def sans_of(message: Any) -> list[str]:
    combined = mtls_of(message).common_tls_context.combined_validation_context
    return [name.matcher.exact for name in combined.default_validation_context.match_typed_subject_alt_names]


def http_options(message: Any) -> HttpProtocolOptions | None:
    packing = message.typed_extension_protocol_options.get(HTTP_OPTIONS)
    return None if packing is None else HttpProtocolOptions.FromString(packing.value)


def one_service(*rows: Any, **fields: Any) -> Mesh:
    return Mesh(cluster("east", "network-east"), service("east", "reviews", **fields), *rows)


def test_readiness_scale_and_addresses_leave_an_outbound_cluster_as_it_is() -> None:
    mesh = one_service(
        slice_of("east", "reviews", "10.0.0.1=r1"),
        pod("east", "r1", "10.0.0.1", service_account="reviews"),
        pod("east", "r2", "10.0.0.2", service_account="reviews"),
    )
    before = mesh.ask(OUTBOUND_CLUSTERS, REVIEWS)
    for entries in (
        (SliceEndpoint.of("10.0.0.1", pod="r1", ready=False, serving=False),),
        ("10.0.0.1=r1", "10.0.0.2=r2"),
        ("10.0.0.2=r2",),
    ):
        mesh.put(slice_of("east", "reviews", *entries))
        assert mesh.ask(OUTBOUND_CLUSTERS, REVIEWS) is before


def test_peers_are_the_service_accounts_of_all_clusters() -> None:
    mesh = one_service(
        cluster("west", "network-west", "west.example"),
        slice_of("east", "reviews", "10.0.0.1=r1"),
        pod("east", "r1", "10.0.0.1", service_account="reviews"),
        service("west", "reviews"),
        slice_of("west", "reviews", "10.0.0.1=r1"),
        pod("west", "r1", "10.0.0.1", service_account="western"),
    )
    assert sans_of(decoded(mesh.ask(OUTBOUND_CLUSTERS, REVIEWS))) == [
        "spiffe://cluster.local/ns/default/sa/reviews",
        "spiffe://west.example/ns/default/sa/western",
    ]


@pytest.mark.parametrize("rows", [(), (slice_of("east", "reviews", "10.0.0.1"),)], ids=["no endpoints", "no pod behind the endpoint"])
def test_where_no_identity_is_known_nobody_is_accepted_rather_than_anybody(rows: tuple[Any, ...]) -> None:
    assert sans_of(decoded(one_service(*rows).ask(OUTBOUND_CLUSTERS, REVIEWS))) == [NOBODY]


def test_a_client_says_by_sni_which_service_port_it_means_and_that_it_is_of_the_mesh() -> None:
    context = mtls_of(decoded(one_service().ask(OUTBOUND_CLUSTERS, REVIEWS)))
    assert context.sni == f"outbound_.80_._.{HOST}"
    common = context.common_tls_context
    assert list(common.alpn_protocols) == ["istio-peer-exchange", "istio"]
    assert [config.name for config in common.tls_certificate_sds_secret_configs] == ["default"]
    assert common.combined_validation_context.validation_context_sds_secret_config.name == "ROOTCA"


@pytest.mark.parametrize("protocol", [Protocol.HTTP2, Protocol.GRPC])
def test_http2_ports_are_called_by_http2_and_say_so_in_alpn(protocol: Protocol) -> None:
    message = decoded(one_service(ports=(port(protocol=protocol),)).ask(OUTBOUND_CLUSTERS, REVIEWS))
    options = http_options(message)
    assert options is not None
    assert options.explicit_http_config.HasField("http2_protocol_options")
    assert "h2" in mtls_of(message).common_tls_context.alpn_protocols


@pytest.mark.parametrize("protocol", [Protocol.HTTP, Protocol.TCP])
def test_other_ports_are_called_as_envoy_does_by_default(protocol: Protocol) -> None:
    assert http_options(decoded(one_service(ports=(port(protocol=protocol),)).ask(OUTBOUND_CLUSTERS, REVIEWS))) is None


def test_udp_ports_and_ports_that_are_not_there_have_no_cluster() -> None:
    mesh = one_service(ports=(port(53, "dns", Protocol.UDP),))
    for collection in (OUTBOUND_CLUSTERS, PASSTHROUGH_CLUSTERS, PROXYLESS_CLUSTERS):
        assert mesh.ask(collection, port_key("reviews", 53)) is None
        assert mesh.ask(collection, REVIEWS) is None
        assert mesh.ask(collection, port_key("nobody")) is None


def test_a_service_with_sessions_never_spreads_over_its_draining_endpoints() -> None:
    plain = decoded(one_service().ask(OUTBOUND_CLUSTERS, REVIEWS))
    assert not plain.HasField("common_lb_config")
    lasting = decoded(one_service(labels={"istio.io/persistent-session": "cookie"}).ask(OUTBOUND_CLUSTERS, REVIEWS))
    assert lasting.common_lb_config.HasField("healthy_panic_threshold")
    assert lasting.common_lb_config.healthy_panic_threshold.value == 0


def test_one_pod_of_a_headless_service_can_be_asked_for_by_its_address() -> None:
    subsets = decoded(one_service(headless=True).ask(OUTBOUND_CLUSTERS, REVIEWS)).lb_subset_config
    assert [list(selector.keys) for selector in subsets.subset_selectors] == [["address"]]
    assert subsets.fallback_policy == Cluster.LbSubsetConfig.LbSubsetFallbackPolicy.ANY_ENDPOINT
    assert not decoded(one_service().ask(OUTBOUND_CLUSTERS, REVIEWS)).HasField("lb_subset_config")


def test_an_external_name_is_resolved_by_the_proxy() -> None:
    mesh = one_service(type=ServiceType.EXTERNAL_NAME, external_name="reviews.example.com")
    message = decoded(mesh.ask(OUTBOUND_CLUSTERS, REVIEWS))
    assert message.type == Cluster.DiscoveryType.STRICT_DNS
    target = message.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address
    assert (target.address, target.port_value) == ("reviews.example.com", 80)
    assert mesh.ask(PASSTHROUGH_CLUSTERS, REVIEWS) is None
    assert decoded(mesh.ask(PROXYLESS_CLUSTERS, REVIEWS)).type == Cluster.DiscoveryType.LOGICAL_DNS


def test_a_passthrough_cluster_leaves_the_clients_tls_alone() -> None:
    message = decoded(one_service().ask(PASSTHROUGH_CLUSTERS, REVIEWS))
    assert message.name == f"outbound_.80_._.{HOST}"
    assert message.eds_cluster_config.service_name == message.name
    assert not message.transport_socket_matches
    assert not message.HasField("transport_socket")


def test_a_grpc_client_gets_only_what_it_can_take() -> None:
    message = decoded(one_service().ask(PROXYLESS_CLUSTERS, REVIEWS))
    assert message.lb_policy == Cluster.LbPolicy.ROUND_ROBIN
    assert message.type == Cluster.DiscoveryType.EDS
    assert not message.transport_socket_matches
    assert message.lrs_server.HasField("self")


@pytest.mark.parametrize("interception", [Interception.REDIRECT, Interception.TPROXY])
def test_captured_traffic_goes_on_to_where_it_was_sent_from_an_address_that_is_not_captured(interception: Interception) -> None:
    message = decoded(Mesh().ask(INBOUND_CLUSTERS, InboundClusterKey(9080, Protocol.HTTP2, interception, "")))
    assert message.name == "inbound|9080||"
    assert message.type == Cluster.DiscoveryType.ORIGINAL_DST
    assert message.upstream_bind_config.source_address.address == "127.0.0.6"
    assert [one.address.address for one in message.upstream_bind_config.extra_source_addresses] == ["::6"]
    assert http_options(message) is not None


def test_without_interception_inbound_traffic_goes_to_the_application() -> None:
    message = decoded(Mesh().ask(INBOUND_CLUSTERS, InboundClusterKey(9080, Protocol.HTTP, Interception.NONE, "127.0.0.5")))
    assert message.type == Cluster.DiscoveryType.STATIC
    target = message.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address
    assert (target.address, target.port_value) == ("127.0.0.5", 9080)
    assert not message.HasField("upstream_bind_config")


def test_the_fixed_clusters_refuse_or_pass_on() -> None:
    mesh = Mesh()
    black_hole, passthrough, inbound = (decoded(mesh.ask(FIXED_CLUSTERS, name)) for name in (BLACK_HOLE, PASSTHROUGH, INBOUND_PASSTHROUGH))
    assert black_hole.type == Cluster.DiscoveryType.STATIC
    assert not black_hole.load_assignment.endpoints
    assert passthrough.type == inbound.type == Cluster.DiscoveryType.ORIGINAL_DST
    assert not passthrough.HasField("upstream_bind_config")
    assert inbound.upstream_bind_config.source_address.address == "127.0.0.6"


def test_envoys_default_limits_do_not_apply() -> None:
    (thresholds,) = decoded(one_service().ask(OUTBOUND_CLUSTERS, REVIEWS)).circuit_breakers.thresholds
    limits = (thresholds.max_connections, thresholds.max_pending_requests, thresholds.max_requests, thresholds.max_retries)
    assert {limit.value for limit in limits} == {2**32 - 1}
    assert thresholds.track_remaining
