"""Routes: which Host leads to which service. A virtual host is encoded once, for every route in which it stands."""

from envoy.config.route.v3.route_components_pb2 import DirectResponseAction, RetryPolicy, Route, RouteAction, RouteMatch
from envoy.config.route.v3.route_components_pb2 import VirtualHost as EncodedHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from steersman.graph import Reader
from steersman.names import PASSTHROUGH, outbound_route
from steersman.resources.collections import VIRTUAL_HOSTS
from steersman.resources.messages import packed
from steersman.resources.resource import Resource, of_parts
from steersman.views.collections import ROUTE_HOSTS, SERVERS
from steersman.views.listeners import RouteHosts, VirtualHost
from steersman.views.scopes import Outbound, Router

RETRY_ON = "connect-failure,refused-stream,reset-before-request,unavailable,cancelled"
"""What is tried again elsewhere: requests that no server began to work on, and gRPC's own "try again". Not 503, as Istio did once: a server
may say it after it has done half of the work."""
RETRIES = 2

_NO_TIMEOUT = Duration()
_ANYWHERE = RouteMatch(prefix="/")


def virtual_host_of(read: Reader, key: VirtualHost) -> bytes:
    """One service's virtual host, as a field of a RouteConfiguration."""
    host = EncodedHost(name=key.name, domains=key.domains, routes=[_to(key.cluster)], include_request_attempt_count=True)
    return _encoded(RouteConfiguration(virtual_hosts=[host]))


def outbound_route_of(read: Reader, key: tuple[Outbound, int]) -> Resource:
    """`PORT`: every service of that port by every name that a client may use, then what becomes of a Host that is none of them."""
    hosts: RouteHosts = read(ROUTE_HOSTS, key)
    name = outbound_route(key[1])
    rest = RouteConfiguration(virtual_hosts=[_passes() if hosts.unknown_passes else _blocks()], validate_clusters=BoolValue(value=False))
    head = _encoded(RouteConfiguration(name=name))
    return of_parts(name, (head, *(read(VIRTUAL_HOSTS, host) for host in hosts.hosts), _encoded(rest)))


def router_route_of(read: Reader, key: tuple[Router, str]) -> Resource | None:
    """A gateway's route: the services that its servers' hosts admit; any other Host is answered 404. A Host's port doesn't count, since in
    front of a gateway ports are mapped."""
    scope, name = key
    hosts = dict(read(SERVERS, scope).routes).get(name)
    if hosts is None:
        return None
    head = _encoded(RouteConfiguration(name=name))
    rest = RouteConfiguration(validate_clusters=BoolValue(value=False), ignore_port_in_host_matching=True)
    return of_parts(name, (head, *(read(VIRTUAL_HOSTS, host) for host in hosts), _encoded(rest)))


def _encoded(piece: RouteConfiguration) -> bytes:
    """Messages of one type, one after the other, are one message with the fields of all."""
    encoded: bytes = piece.SerializeToString(deterministic=True)
    return encoded


def _to(cluster: str) -> Route:
    """All requests to a cluster, as long as they take; what fails before anything was done is tried again on another endpoint."""
    retry = RetryPolicy(
        retry_on=RETRY_ON,
        num_retries=UInt32Value(value=RETRIES),
        retry_host_predicate=[
            RetryPolicy.RetryHostPredicate(name="envoy.retry_host_predicates.previous_hosts", typed_config=packed(PreviousHostsPredicate()))
        ],
        host_selection_retry_max_attempts=5,
    )
    action = RouteAction(cluster=cluster, timeout=_NO_TIMEOUT, retry_policy=retry, max_stream_duration=_own_deadline())
    return Route(name="default", match=_ANYWHERE, route=action)


def _own_deadline() -> RouteAction.MaxStreamDuration:
    """A gRPC client's own deadline holds, however long."""
    return RouteAction.MaxStreamDuration(grpc_timeout_header_max=Duration())


def _passes() -> EncodedHost:
    action = RouteAction(cluster=PASSTHROUGH, timeout=_NO_TIMEOUT, max_stream_duration=_own_deadline())
    return EncodedHost(name="allow_any", domains=["*"], routes=[Route(name="allow_any", match=_ANYWHERE, route=action)])


def _blocks() -> EncodedHost:
    route = Route(name="block_all", match=_ANYWHERE, direct_response=DirectResponseAction(status=502))
    return EncodedHost(name="block_all", domains=["*"], routes=[route])
