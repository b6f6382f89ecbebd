"""Listeners and routes for gRPC's own resolver: a client that dials xds:///HOST:PORT asks for a listener of exactly that name."""

from collections.abc import Iterator

from envoy.config.listener.v3.api_listener_pb2 import ApiListener
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import Route, RouteAction, RouteMatch, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from steersman.graph import Reader
from steersman.model.ids import Hostname, ServicePortKey
from steersman.names import outbound_cluster, proxyless_listener, short_hosts
from steersman.registry.collections import MESH_SERVICES
from steersman.registry.mesh import mesh_of
from steersman.resources.filters import api_manager
from steersman.resources.messages import packed
from steersman.resources.resource import Resource, of_message
from steersman.views.callees import proxied


def dialled_names(read: Reader, port: ServicePortKey, namespace: str) -> Iterator[str]:
    """What a client in that namespace may dial for a service port: each of the service's names, with the port."""
    for host in short_hosts(port.service, mesh_of(read).domain, namespace):
        yield proxyless_listener(Hostname(host), port.port)


def proxyless_listener_of(read: Reader, key: tuple[str, ServicePortKey]) -> Resource | None:
    """The listener under one dialled name; None where the mesh has no such port, or it is UDP."""
    name, port = key
    route = _route_name(read, port)
    if route is None:
        return None
    return of_message(name, Listener(name=name, api_listener=ApiListener(api_listener=packed(api_manager(route)))))


def proxyless_route_of(read: Reader, key: ServicePortKey) -> Resource | None:
    """The route of a service port, named as the cluster to which it leads. None as for the listener.

    Its domain is any: which service is meant was said by the listener's name, and a client may override its authority. A client's retries
    are its own affair (its service config).
    """
    name = _route_name(read, key)
    if name is None:
        return None
    route = Route(name="default", match=RouteMatch(prefix=""), route=RouteAction(cluster=name))
    host = VirtualHost(name=name, domains=["*"], routes=[route])
    return of_message(name, RouteConfiguration(name=name, virtual_hosts=[host]))


def _route_name(read: Reader, key: ServicePortKey) -> str | None:
    service = read(MESH_SERVICES, key.service)
    port = service.port(key.port) if service is not None else None
    if service is None or port is None or not proxied(port):
        return None
    return outbound_cluster(port.port, service.hostname)
