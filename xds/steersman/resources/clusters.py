"""Clusters. None depends on which endpoints are ready, so a rollout never touches one; a service has the same for all who may call it."""

from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import BindConfig, ExtraSourceAddress, SocketAddress
from envoy.config.core.v3.base_pb2 import Metadata, RoutingPriority
from envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions, Http2ProtocolOptions
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from envoy.type.v3.percent_pb2 import Percent
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import UInt32Value

from steersman.graph import Reader
from steersman.model.ids import ServicePortKey
from steersman.model.mesh import Identities, MeshService, ServicePort
from steersman.model.proxy import Interception
from steersman.names import BLACK_HOLE, INBOUND_PASSTHROUGH, PASSTHROUGH, inbound_cluster, outbound_cluster, sni_name
from steersman.registry.collections import IDENTITIES, MESH_SERVICES
from steersman.resources.collections import InboundClusterKey
from steersman.resources.listeners import POD_ADDRESS
from steersman.resources.messages import itself, over_ads, packed, tcp_address
from steersman.resources.resource import Resource, of_message
from steersman.resources.tls import MESH_ALPN, MESH_ALPN_HTTP2, plaintext, upstream_tls
from steersman.views.callees import proxied

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

_CONNECT_TIMEOUT = Duration(seconds=10)
_UNLIMITED = 2**32 - 1
_NO_CAPTURE_V4 = "127.0.0.6"
_NO_CAPTURE_V6 = "::6"
"""Source addresses that a workload's capture rules leave alone: what the proxy hands to its application isn't captured again."""


def outbound_cluster_of(read: Reader, key: ServicePortKey) -> Resource | None:
    """`outbound|PORT||HOST`; None where the mesh has no such port or it is UDP.

    Both ways to call an endpoint stand in it, mTLS and plaintext, and the endpoint's own metadata picks: that an endpoint comes or goes
    changes only the assignment. The cluster changes when a service account appears or disappears behind the service (rule 11).
    """
    found = _port(read, key)
    if found is None:
        return None
    service, port = found
    if service.external_name:
        return of_message(outbound_cluster(port.port, service.hostname), _external(service, port, Cluster.DiscoveryType.STRICT_DNS))
    cluster = _from_eds(outbound_cluster(port.port, service.hostname), service, Cluster.LbPolicy.LEAST_REQUEST)
    if port.protocol.is_http2:
        cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(packed(_http2()))
    if service.headless:
        cluster.lb_subset_config.CopyFrom(_one_pod_or_any())
    _call_by_mode(cluster, service, port, read(IDENTITIES, service.key))
    return of_message(cluster.name, cluster)


def passthrough_cluster_of(read: Reader, key: ServicePortKey) -> Resource | None:
    """`outbound_.PORT_._.HOST`, at an AUTO_PASSTHROUGH gateway: the client's own TLS goes through as it is. None as for outbound, and for
    ExternalName: what is outside the mesh has no mTLS to pass."""
    found = _port(read, key)
    if found is None or found[0].external_name:
        return None
    service, port = found
    cluster = _from_eds(sni_name(port.port, service.hostname), service, Cluster.LbPolicy.LEAST_REQUEST)
    return of_message(cluster.name, cluster)


def proxyless_cluster_of(read: Reader, key: ServicePortKey) -> Resource | None:
    """`outbound|PORT||HOST` for gRPC's own resolver: plaintext, and only what C-core and grpc-js both take (ROUND_ROBIN; LOGICAL_DNS for
    ExternalName, since gRPC refuses STRICT_DNS). It reports its load to where the cluster came from. None as for outbound."""
    found = _port(read, key)
    if found is None:
        return None
    service, port = found
    name = outbound_cluster(port.port, service.hostname)
    if service.external_name:
        cluster = _external(service, port, Cluster.DiscoveryType.LOGICAL_DNS)
        cluster.lb_policy = Cluster.LbPolicy.ROUND_ROBIN
    else:
        cluster = _from_eds(name, service, Cluster.LbPolicy.ROUND_ROBIN)
    cluster.lrs_server.CopyFrom(itself())
    return of_message(name, cluster)


def inbound_cluster_of(read: Reader, key: InboundClusterKey) -> Resource:
    """`inbound|PORT||`: the application beside the proxy.

    Captured traffic (REDIRECT, TPROXY) goes on to the address it was sent to, from a source address that isn't captured; with NONE it goes
    to `app`.
    """
    name = inbound_cluster(key.port)
    cluster = _unlimited(Cluster(name=name, connect_timeout=_CONNECT_TIMEOUT))
    if key.interception is Interception.NONE:
        cluster.type = Cluster.DiscoveryType.STATIC
        cluster.load_assignment.CopyFrom(_inline(name, key.app, key.port))
    else:
        _to_original_destination(cluster)
        cluster.upstream_bind_config.CopyFrom(_not_captured())
    if key.protocol.is_http2:
        cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(packed(_http2()))
    return of_message(name, cluster)


def fixed_cluster_of(read: Reader, name: str) -> Resource:
    """The clusters that are the same for everyone: BlackHoleCluster refuses, PassthroughCluster goes where the client meant to, and
    InboundPassthroughCluster takes captured traffic for a port of no service to the application. Any other name is a KeyError."""
    return of_message(name, _FIXED[name]())


def _black_hole() -> Cluster:
    return Cluster(name=BLACK_HOLE, type=Cluster.DiscoveryType.STATIC, connect_timeout=_CONNECT_TIMEOUT)


def _passthrough() -> Cluster:
    cluster = _unlimited(Cluster(name=PASSTHROUGH, connect_timeout=_CONNECT_TIMEOUT))
    _to_original_destination(cluster)
    cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(packed(_as_downstream()))
    return cluster


def _inbound_passthrough() -> Cluster:
    cluster = _passthrough()
    cluster.name = INBOUND_PASSTHROUGH
    cluster.upstream_bind_config.CopyFrom(_not_captured())
    return cluster


_FIXED = {BLACK_HOLE: _black_hole, PASSTHROUGH: _passthrough, INBOUND_PASSTHROUGH: _inbound_passthrough}


def _port(read: Reader, key: ServicePortKey) -> tuple[MeshService, ServicePort] | None:
    service = read(MESH_SERVICES, key.service)
    port = service.port(key.port) if service is not None else None
    return (service, port) if service is not None and port is not None and proxied(port) else None


def _from_eds(name: str, service: MeshService, policy: int) -> Cluster:
    """A cluster whose assignment bears its own name.

    Envoy's panic mode spreads requests over draining endpoints once most are draining. Only services with sessions are sent draining
    endpoints, and those must get nothing but their old sessions: no panic there.
    """
    cluster = _unlimited(
        Cluster(
            name=name,
            type=Cluster.DiscoveryType.EDS,
            eds_cluster_config=Cluster.EdsClusterConfig(eds_config=over_ads(), service_name=name),
            connect_timeout=_CONNECT_TIMEOUT,
            lb_policy=policy,
            metadata=_metadata(service),
        )
    )
    if service.session:
        cluster.common_lb_config.CopyFrom(Cluster.CommonLbConfig(healthy_panic_threshold=Percent(value=0)))
    return cluster


def _one_pod_or_any() -> Cluster.LbSubsetConfig:
    """Who asks for a pod of a headless service by its address gets that pod or none; who doesn't ask gets any."""
    policies = Cluster.LbSubsetConfig
    pod = policies.LbSubsetSelector(
        keys=[POD_ADDRESS],
        fallback_policy=policies.LbSubsetSelector.LbSubsetSelectorFallbackPolicy.NO_FALLBACK,
        single_host_per_subset=True,
    )
    return policies(fallback_policy=policies.LbSubsetFallbackPolicy.ANY_ENDPOINT, subset_selectors=[pod])


def _call_by_mode(cluster: Cluster, service: MeshService, port: ServicePort, identities: Identities) -> None:
    alpn = MESH_ALPN_HTTP2 if port.protocol.is_http2 else MESH_ALPN
    mtls = cluster.transport_socket_matches.add(
        name="tlsMode-istio", transport_socket=upstream_tls(sni_name(port.port, service.hostname), alpn, identities)
    )
    mtls.match.update({"tlsMode": "istio"})
    cluster.transport_socket_matches.add(name="tlsMode-disabled", match=Struct(), transport_socket=plaintext())


def _external(service: MeshService, port: ServicePort, kind: int) -> Cluster:
    """An ExternalName's target, resolved by the proxy; IPv4 first, since it is shared by proxies of every family. DNS decides how long an
    answer holds, and 60 s where it does not say."""
    name = outbound_cluster(port.port, service.hostname)
    cluster = _unlimited(
        Cluster(
            name=name,
            type=kind,
            connect_timeout=_CONNECT_TIMEOUT,
            lb_policy=Cluster.LbPolicy.LEAST_REQUEST,
            load_assignment=_inline(name, service.external_name, port.port),
            dns_lookup_family=Cluster.DnsLookupFamily.V4_PREFERRED,
            dns_refresh_rate=Duration(seconds=60),
            respect_dns_ttl=True,
            metadata=_metadata(service),
        )
    )
    if port.protocol.is_http2:
        cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(packed(_http2()))
    return cluster


def _inline(cluster: str, address: str, port: int) -> ClusterLoadAssignment:
    endpoint = LbEndpoint(endpoint=Endpoint(address=tcp_address(address, port)), load_balancing_weight=UInt32Value(value=1))
    group = LocalityLbEndpoints(lb_endpoints=[endpoint], load_balancing_weight=UInt32Value(value=1))
    group.locality.SetInParent()
    return ClusterLoadAssignment(cluster_name=cluster, endpoints=[group])


def _unlimited(cluster: Cluster) -> Cluster:
    """Envoy's own circuit breakers trip at 1024; without a policy that asks for one, none does. What is open is counted all the same."""
    cluster.circuit_breakers.CopyFrom(
        CircuitBreakers(
            thresholds=[
                CircuitBreakers.Thresholds(
                    priority=RoutingPriority.DEFAULT,
                    max_connections=UInt32Value(value=_UNLIMITED),
                    max_pending_requests=UInt32Value(value=_UNLIMITED),
                    max_requests=UInt32Value(value=_UNLIMITED),
                    max_retries=UInt32Value(value=_UNLIMITED),
                    track_remaining=True,
                )
            ]
        )
    )
    return cluster


def _to_original_destination(cluster: Cluster) -> None:
    cluster.type = Cluster.DiscoveryType.ORIGINAL_DST
    cluster.lb_policy = Cluster.LbPolicy.CLUSTER_PROVIDED
    cluster.cleanup_interval.CopyFrom(Duration(seconds=60))


def _not_captured() -> BindConfig:
    """Envoy takes the address of the family that it connects to."""
    return BindConfig(
        source_address=SocketAddress(address=_NO_CAPTURE_V4, port_value=0),
        extra_source_addresses=[ExtraSourceAddress(address=SocketAddress(address=_NO_CAPTURE_V6, port_value=0))],
    )


def _metadata(service: MeshService) -> Metadata:
    """Which service it is, where Istio's telemetry looks for it."""
    metadata = Metadata()
    metadata.filter_metadata["istio"].update(
        {"services": [{"host": service.hostname, "name": service.key.name, "namespace": service.key.namespace}]}
    )
    return metadata


def _http2() -> HttpProtocolOptions:
    return HttpProtocolOptions(explicit_http_config=HttpProtocolOptions.ExplicitHttpConfig(http2_protocol_options=Http2ProtocolOptions()))


def _as_downstream() -> HttpProtocolOptions:
    return HttpProtocolOptions(
        use_downstream_protocol_config=HttpProtocolOptions.UseDownstreamHttpConfig(
            http_protocol_options=Http1ProtocolOptions(), http2_protocol_options=Http2ProtocolOptions()
        )
    )
