"""Filters: what listeners do with a connection, and what they look at before they decide."""

from collections.abc import Iterable

from envoy.config.core.v3.base_pb2 import DataSource, Metadata
from envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.config.listener.v3.listener_components_pb2 import Filter, ListenerFilter
from envoy.config.rbac.v3 import rbac_pb2 as rules
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.common.set_filter_state.v3.value_pb2 import FilterStateValue
from envoy.extensions.filters.http.on_demand.v3.on_demand_pb2 import OnDemand, OnDemandCds
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.listener.http_inspector.v3.http_inspector_pb2 import HttpInspector
from envoy.extensions.filters.listener.original_dst.v3.original_dst_pb2 import OriginalDst
from envoy.extensions.filters.listener.original_src.v3.original_src_pb2 import OriginalSrc
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager, HttpFilter, Rds
from envoy.extensions.filters.network.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.network.set_filter_state.v3.set_filter_state_pb2 import Config as SetFilterState
from envoy.extensions.filters.network.sni_cluster.v3.sni_cluster_pb2 import SniCluster
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from steersman.resources.messages import over_ads, packed

CONNECT_ATTEMPTS = 3
"""How many endpoints a TCP connection tries before it gives up: nothing was sent yet, so trying another is safe."""

_FOREVER = Duration()
_FETCH = Duration(seconds=5)
"""How long what is on its way waits for a cluster on demand. What doesn't exist is said so at once: only a server that is away takes so
long."""
_MARK = 1337
"""Of connections that keep their client's address (TPROXY); the workload's routing rules know it by this, as Istio's do."""


# -- what a connection becomes ------------------------------------------------------------------------------------------------


def tcp_proxy(cluster: str, stat_prefix: str = "", metadata: Metadata | None = None, *, on_demand: bool = False) -> Filter:
    """Hands the connection's bytes to the cluster; with `metadata` only to an endpoint that has it. `on_demand`: where the cluster isn't
    there it is asked for, and the connection waits."""
    config = TcpProxy(
        stat_prefix=stat_prefix or cluster,
        cluster=cluster,
        metadata_match=metadata,
        max_connect_attempts=UInt32Value(value=CONNECT_ATTEMPTS),
        on_demand=TcpProxy.OnDemand(odcds_config=over_ads(), timeout=_FETCH) if on_demand else None,
    )
    return Filter(name="envoy.filters.network.tcp_proxy", typed_config=packed(config))


def offering(alpn: Iterable[str]) -> Filter:
    """Has what the connection becomes offer this ALPN upstream, whatever the cluster's own TLS offers."""
    value = FilterStateValue(
        object_key="envoy.network.application_protocols",
        format_string=SubstitutionFormatString(text_format_source=DataSource(inline_string=",".join(alpn))),
    )
    return Filter(name="envoy.filters.network.set_filter_state", typed_config=packed(SetFilterState(on_new_connection=[value])))


def sni_cluster() -> Filter:
    """Makes the SNI the name of the cluster that the tcp_proxy behind it takes, where there is such a cluster."""
    return Filter(name="envoy.filters.network.sni_cluster", typed_config=packed(SniCluster()))


def only_sni(prefix: str, stat_prefix: str) -> Filter:
    """Closes connections whose SNI doesn't begin so."""
    permission = rules.Permission(requested_server_name=StringMatcher(prefix=prefix))
    policy = rules.Policy(permissions=[permission], principals=[rules.Principal(any=True)])
    config = RBAC(rules=rules.RBAC(action=rules.RBAC.Action.ALLOW, policies={"sni": policy}), stat_prefix=stat_prefix)
    return Filter(name="envoy.filters.network.rbac", typed_config=packed(config))


def http_routed_by(route: str, stat_prefix: str, *, edge: bool = False, tells_peer: bool = False, on_demand: bool = False) -> Filter:
    """HTTP by the route of that name, which comes over ADS. See `http_manager`. `on_demand`: where the cluster of a request isn't there it
    is asked for, and the request waits."""
    manager = http_manager(stat_prefix, edge=edge, tells_peer=tells_peer)
    if on_demand:
        asking = packed(OnDemand(odcds=OnDemandCds(source=over_ads(), timeout=_FETCH)))
        manager.http_filters.insert(0, HttpFilter(name="envoy.filters.http.on_demand", typed_config=asking))
    manager.rds.CopyFrom(over_rds(route))
    return _http(manager)


def http_routed_to(route: RouteConfiguration, stat_prefix: str) -> Filter:
    """HTTP by this very route, told apart from a service's callers by their certificates."""
    manager = http_manager(stat_prefix, edge=False, tells_peer=True)
    manager.route_config.CopyFrom(route)
    return _http(manager)


def over_rds(route: str) -> Rds:
    """The listener waits for its route as long as it takes: without it, it could only answer 404."""
    source = over_ads()
    source.initial_fetch_timeout.CopyFrom(_FOREVER)
    return Rds(config_source=source, route_config_name=route)


def http_manager(stat_prefix: str, *, edge: bool, tells_peer: bool) -> HttpConnectionManager:
    """HTTP/1 and HTTP/2, whichever the client speaks, without limits on how long a stream may be idle.

    `edge`: clients are strangers, so what they say about themselves is replaced by what is seen (use_remote_address). `tells_peer`: the
    upstream is told the client's SPIFFE id and subject in x-forwarded-client-cert, and nothing that the client says there.
    """
    manager = HttpConnectionManager(
        stat_prefix=stat_prefix,
        http_filters=[HttpFilter(name="envoy.filters.http.router", typed_config=packed(Router()))],
        http_protocol_options=Http1ProtocolOptions(accept_http_10=True),
        stream_idle_timeout=_FOREVER,
        use_remote_address=BoolValue(value=edge),
        normalize_path=BoolValue(value=True),
        strip_trailing_host_dot=True,
        upgrade_configs=[HttpConnectionManager.UpgradeConfig(upgrade_type="websocket")],
    )
    if not edge:
        manager.server_header_transformation = HttpConnectionManager.ServerHeaderTransformation.PASS_THROUGH
    if tells_peer:
        manager.forward_client_cert_details = HttpConnectionManager.ForwardClientCertDetails.SANITIZE_SET
        manager.set_current_client_cert_details.CopyFrom(
            HttpConnectionManager.SetCurrentClientCertDetails(subject=BoolValue(value=True), uri=True)
        )
    return manager


def api_manager(route: str) -> HttpConnectionManager:
    """What a gRPC client reads of an HTTP connection manager: where its route is."""
    router = HttpFilter(name="envoy.filters.http.router", typed_config=packed(Router()))
    return HttpConnectionManager(stat_prefix=route, rds=over_rds(route), http_filters=[router])


def _http(manager: HttpConnectionManager) -> Filter:
    return Filter(name="envoy.filters.network.http_connection_manager", typed_config=packed(manager))


# -- what is looked at first --------------------------------------------------------------------------------------------------


def original_dst() -> ListenerFilter:
    """Restores the address that a captured connection was meant for."""
    return ListenerFilter(name="envoy.filters.listener.original_dst", typed_config=packed(OriginalDst()))


def original_src() -> ListenerFilter:
    """Has the upstream see the client's own address."""
    return ListenerFilter(name="envoy.filters.listener.original_src", typed_config=packed(OriginalSrc(mark=_MARK)))


def tls_inspector() -> ListenerFilter:
    """Tells TLS from plaintext, and its SNI and ALPN."""
    return ListenerFilter(name="envoy.filters.listener.tls_inspector", typed_config=packed(TlsInspector()))


def http_inspector() -> ListenerFilter:
    """Tells HTTP from anything else."""
    return ListenerFilter(name="envoy.filters.listener.http_inspector", typed_config=packed(HttpInspector()))
