"""gRPC's own xDS clients, that of C and that of JavaScript, at tables that the test writes by hand. The numbers are those of
docs/conformance.md."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest
from envoy.config.core.v3.base_pb2 import Node
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager

from steersman.ads.messages import Variant
from steersman.names import CDS, EDS, LDS, RDS
from steersman.resources.resource import Resource
from steersman.snapshot.table import LayeredTable, Refused, RefusedTable
from tests.support.clients import client
from tests.support.grpc_clients import COMMANDS, GrpcClient, grpc_client
from tests.support.running import free_port, grpc_app, loopback
from tests.support.static import StaticServer, static_server, until
from tests.support.tables import OVER_ADS, cluster, made, route, wave
from tests.support.xds import Mesh

KINDS = pytest.mark.parametrize("kind", COMMANDS)
APP = loopback(233)
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def app() -> Iterator[int]:
    """Answers every call; its port."""
    port = free_port(APP)
    with grpc_app(APP, port):
        yield port


def api_listener(name: str, route_name: str) -> Resource:
    """What a client that dials xds:///NAME asks for."""
    manager = {
        "@type": f"type.googleapis.com/{HttpConnectionManager.DESCRIPTOR.full_name}",
        "rds": {"config_source": OVER_ADS, "route_config_name": route_name},
        "http_filters": [{"name": "router", "typed_config": {"@type": f"type.googleapis.com/{Router.DESCRIPTOR.full_name}"}}],
    }
    return made(Listener(), name, {"api_listener": {"api_listener": manager}})


def endpoints(name: str, *ports: int, padding: int = 0) -> Resource:
    """`padding`: bytes of metadata beside, which no client reads."""
    listed = [{"endpoint": {"address": {"socket_address": {"address": APP, "port_value": port}}}} for port in ports]
    locality: dict[str, Any] = {"locality": {"zone": "z"}, "load_balancing_weight": 1, "lb_endpoints": listed}
    if padding:
        locality["metadata"] = {"filter_metadata": {"padding": {"text": "x" * padding}}}
    return made(ClusterLoadAssignment(), name, {"cluster_name": name, "endpoints": [locality]})


def serves(mesh: Mesh, name: str, app: int, **fields: Any) -> None:
    """Everything that leads a client of that name to the application."""
    wave(mesh, {LDS: [api_listener(name, name)], RDS: [route(name, name)], CDS: [cluster(name)], EDS: [endpoints(name, app, **fields)]})


@asynccontextmanager
async def dialling(server: StaticServer, kind: str, name: str, **environment: str) -> AsyncIterator[GrpcClient]:
    with ExitStack() as stack:
        yield await asyncio.to_thread(
            stack.enter_context, grpc_client(kind, server.address, f"xds:///{name}", {"id": f"{kind}-{name}"}, environment)
        )


def answered(text: str) -> bool:
    return text.startswith("{")


@KINDS
async def test_c01_it_calls_what_it_dials_and_follows_it(kind: str, app: int) -> None:
    mesh = Mesh()
    serves(mesh, "svc", app)
    async with static_server(mesh) as server, dialling(server, kind, "svc") as calling:
        assert answered(await asyncio.to_thread(calling.call))
        other = free_port(APP)
        with grpc_app(APP, other):
            wave(mesh, {EDS: [endpoints("svc", other)]})
            await until(lambda: server.places[0].connection.status().channels[1].pending == 0)
            assert answered(await asyncio.to_thread(calling.call))
        assert server.counters.rejects == {}
        assert server.counters.streams == {Variant.SOTW: 1}


@KINDS
async def test_c52_endpoints_of_more_than_four_mebibytes_make_no_client_reconnect(kind: str, app: int) -> None:
    """Several assignments that are too large together go out one after the other, and one that is too large alone is withheld."""
    mesh = Mesh()
    names = [f"svc{number}" for number in range(4)]
    for name in names:
        serves(mesh, name, app, padding=3 * MIB // 2)
    host = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"weighted_clusters": {}}}]}
    host["routes"][0]["route"]["weighted_clusters"]["clusters"] = [{"name": name, "weight": 1} for name in names]  # type: ignore[index]
    from envoy.config.route.v3.route_pb2 import RouteConfiguration

    wave(mesh, {RDS: [made(RouteConfiguration(), "svc0", {"name": "svc0", "virtual_hosts": [host]})]})
    async with static_server(mesh) as server, dialling(server, kind, "svc0") as calling:
        answers = [await asyncio.to_thread(calling.call) for _ in range(8)]
        assert all(answered(text) for text in answers), answers
        await until(lambda: server.counters.pushed_resources["eds"] >= 4)
        assert server.counters.pushed_bytes["eds"] > 4 * MIB
        assert server.counters.pushes["eds"] >= 2
        wave(mesh, {EDS: [endpoints("svc1", app, padding=5 * MIB)]})
        await until(lambda: server.places[0].connection.status().channels[1].pending == 0)
        assert mesh.tables[EDS].oversized.keys() == {"svc1"}
        answers = [await asyncio.to_thread(calling.call) for _ in range(8)]
        assert all(answered(text) for text in answers), answers
        assert server.counters.streams == {Variant.SOTW: 1}, "one stream, and it stays"
        assert server.counters.closed == {}


async def test_c56_a_name_that_is_refused_fails_at_once_with_our_words(app: int) -> None:
    """With GRPC_EXPERIMENTAL_XDS_DATA_ERROR_HANDLING; without it the client waits 15 s, and only then says that there is no such thing."""
    mesh = Mesh()
    serves(mesh, "svc", app)
    refused = RefusedTable(Refused(code=7, text="denied by policy"))
    async with static_server(mesh) as server:
        mesh.tables[LDS] = LayeredTable([mesh.tables[LDS], refused])  # type: ignore[assignment, list-item]
        async with dialling(server, "grpc-core", "denied", GRPC_EXPERIMENTAL_XDS_DATA_ERROR_HANDLING="true") as calling:
            started = asyncio.get_running_loop().time()
            text = await asyncio.to_thread(calling.call)
            assert text.startswith("UNAVAILABLE")
            assert "denied by policy" in text
            assert asyncio.get_running_loop().time() - started < 8, "its own patience is 15 s"
        assert server.counters.pushes == {"lds": 1}
        async with dialling(server, "grpc-core", "svc", GRPC_EXPERIMENTAL_XDS_DATA_ERROR_HANDLING="true") as calling:
            assert answered(await asyncio.to_thread(calling.call)), "others are served as ever"


async def test_c57_grpcs_own_clients_are_sent_no_time_to_live(app: int) -> None:
    """That of C says that it takes resources so wrapped; it ignores how long they live, and refuses heartbeats."""
    mesh = Mesh()
    serves(mesh, "svc", app)
    async with (
        static_server(mesh, ttls=dict.fromkeys((LDS, RDS, CDS, EDS), 0.3)) as server,
        dialling(server, "grpc-core", "svc") as calling,
    ):
        assert answered(await asyncio.to_thread(calling.call))
        wave(mesh, {EDS: [endpoints("svc", app, padding=1)]})
        await until(lambda: server.counters.pushed_resources["eds"] == 2)
        await asyncio.sleep(0.5)
        assert answered(await asyncio.to_thread(calling.call))
        assert server.counters.heartbeats == {}
        assert server.counters.rejects == {}


async def test_c57_sotw_who_does_not_say_that_it_takes_a_time_to_live_is_sent_none() -> None:
    mesh = Mesh()
    mesh.only(EDS, "a")
    async with static_server(mesh, ttls={EDS: 0.2}) as server:
        async with client(server, Variant.SOTW, node=Node(id="n")) as one:
            await one.asks(EDS, "a")
            response = await one.gets()
            assert [found.type_url for found in response.resources] == [EDS]
            await one.acks(response, "a")
        node = Node(id="n", client_features=["xds.config.resource-in-sotw"])
        async with client(server, Variant.SOTW, node=node) as one:
            await one.asks(EDS, "a")
            response = await one.gets()
            assert [found.type_url for found in response.resources] == ["type.googleapis.com/envoy.service.discovery.v3.Resource"]
            await one.acks(response, "a")
            heartbeat = await one.gets()
            assert b"a=1" not in heartbeat.SerializeToString()
        assert server.counters.heartbeats == {"eds": 1}
