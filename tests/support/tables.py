"""Resources as real Envoys take them, tables that a test writes by hand, and an Envoy at them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from steersman.ads.messages import Variant
from steersman.resources.resource import Resource, of_message
from steersman.server.bootstrap import Mode, envoy_bootstrap
from tests.support.live import eventually, refusals, warming
from tests.support.running import Envoy, free_port, loopback, started_envoy
from tests.support.static import StaticServer, until
from tests.support.xds import Mesh

MODES = {Variant.SOTW: Mode.SOTW, Variant.DELTA: Mode.DELTA}
OVER_ADS = {"ads": {}, "resource_api_version": "V3"}
PROXY, APPS = loopback(230), loopback(231)

T = TypeVar("T")


def cluster(name: str, **fields: Any) -> Resource:
    return made(Cluster(), name, {"type": "EDS", "eds_cluster_config": {"eds_config": OVER_ADS}, "connect_timeout": "1s", **fields})


def endpoints(name: str, *ports: int) -> Resource:
    listed = [{"endpoint": {"address": {"socket_address": {"address": APPS, "port_value": port}}}} for port in ports]
    return made(ClusterLoadAssignment(), name, {"cluster_name": name, "endpoints": [{"lb_endpoints": listed}]})


def listener(name: str, port: int, route: str, *, stat_prefix: str = "", **fields: Any) -> Resource:
    router = {"@type": f"type.googleapis.com/{Router.DESCRIPTOR.full_name}"}
    manager = {
        "@type": f"type.googleapis.com/{HttpConnectionManager.DESCRIPTOR.full_name}",
        "stat_prefix": stat_prefix or name,
        "rds": {"config_source": OVER_ADS, "route_config_name": route},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    bind = {"socket_address": {"address": PROXY, "port_value": port}}
    return made(Listener(), name, {"name": name, "address": bind, "filter_chains": [chain], **fields})


def route(name: str, target: str) -> Resource:
    host = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": target}}]}
    return made(RouteConfiguration(), name, {"name": name, "virtual_hosts": [host]})


def made(message: Message, name: str, fields: dict[str, Any]) -> Resource:
    if "cluster_name" not in fields:
        fields = {"name": name, **fields}
    return of_message(name, ParseDict(fields, message))


def wave(mesh: Mesh, put: dict[str, Iterable[Resource]], remove: dict[str, Iterable[str]] | None = None) -> None:
    """All of it in one generation."""
    gone = remove or {}
    mesh.tell(
        {
            type_url: mesh.tables[type_url].apply(tuple(put.get(type_url, ())), remove=tuple(gone.get(type_url, ())))
            for type_url in put | gone
        }
    )


@asynccontextmanager
async def at(server: StaticServer, variant: Variant, directory: Path) -> AsyncIterator[Envoy]:
    """A ready Envoy that is connected to that server."""
    bootstrap = envoy_bootstrap(node_id="bare", xds=server.address, admin=f"{PROXY}:{free_port(PROXY)}", mode=MODES[variant])
    with ExitStack() as stack:
        envoy = await asyncio.to_thread(stack.enter_context, started_envoy(bootstrap, directory, "envoy"))
        try:
            await asyncio.to_thread(envoy.wait_ready)
            yield envoy
            assert await asyncio.to_thread(refusals, envoy) == {}
        finally:
            await asyncio.to_thread(stack.close)


async def sees(found: Callable[[], T], seconds: float = 10.0) -> T:
    return await asyncio.to_thread(eventually, found, seconds, 0.005)


async def settles(envoy: Envoy, server: StaticServer, seconds: float = 1.0) -> None:
    """Nothing warms any more, and everything is acknowledged, within that time: Envoy's own patience is 15 s."""
    connection = server.places[0].connection
    await until(lambda: all(channel.acked == channel.sent or acked(channel) for channel in connection.status().channels), seconds)
    await sees(lambda: warming(envoy) == {}, seconds)


def acked(channel: Any) -> bool:
    return channel.sent is None or (channel.acked is not None and channel.acked.nonce == channel.sent.nonce)
