"""Bugs of ours in what is computed: each costs what it is about, and the server goes on. The numbers are those of docs/conformance.md."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from envoy.config.core.v3.base_pb2 import Node
from google.protobuf.json_format import ParseDict

from steersman.admin.counters import Counters
from steersman.admin.loads import Loads
from steersman.ads.messages import Variant
from steersman.model.facts import LeafKey
from steersman.names import CDS
from steersman.pipeline import Pipeline
from steersman.resources import clusters, manifests
from steersman.server.engine import Engine
from steersman.server.transport import XDSServer
from steersman.settings import Address, XDSSettings
from tests.support.clients import client
from tests.support.mesh import cluster, fact, service

BOTH = pytest.mark.parametrize("variant", list(Variant))


class Wants:
    def want_leaves(self, leaves: frozenset[LeafKey]) -> None:
        pass

    def want_names(self, names: frozenset[str]) -> None:
        pass


class Server:
    """An engine with its xDS address."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.engine = Engine(Pipeline(), Wants(), self.counters)
        settings = XDSSettings(address=Address("127.0.0.1", 0))
        self.xds = XDSServer(self.engine, settings, self.counters, Loads(settings.load_reporting_interval))
        self.address = ""


@asynccontextmanager
async def serving(*services: str) -> AsyncIterator[Server]:
    server = Server()
    running = asyncio.create_task(server.engine.run())
    server.address = f"127.0.0.1:{await server.xds.start()}"
    server.engine.submit([fact(cluster("east", "net")), *(fact(service("east", name)) for name in services)])
    server.engine.ready.set()
    try:
        yield server
        assert not running.done(), "the engine goes on"
    finally:
        running.cancel()
        await server.xds.stop()


def node(name: str) -> Node:
    found: Node = ParseDict({"id": f"sidecar~10.0.0.9~{name}.default~cluster.local", "metadata": {"CLUSTER_ID": "east"}}, Node())
    return found


def failing(function: Callable[..., Any], when: str) -> Callable[..., Any]:
    """The same, but for keys that have this in them."""

    def buggy(read: Any, key: Any) -> Any:
        if when in str(key):
            raise RuntimeError("a bug")
        return function(read, key)

    return buggy


@BOTH
async def test_c54_a_cluster_that_cannot_be_computed_is_missing_and_all_others_are_served(
    variant: Variant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(clusters, "outbound_cluster_of", failing(clusters.outbound_cluster_of, "cursed"))
    async with serving("web", "cursed") as server, client(server, variant, node=node("a")) as one:  # type: ignore[arg-type]
        await one.asks(CDS)
        body = (await one.gets()).SerializeToString()
        assert b"web.default.svc" in body
        assert b"cursed" not in body
        assert server.counters.failures >= 1
    assert "RuntimeError: a bug" in caplog.text


@BOTH
async def test_c54_a_proxy_whose_tables_cannot_be_computed_costs_its_own_stream(
    variant: Variant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(manifests, "tables_of", failing(manifests.tables_of, "cursed"))
    async with (
        serving("web") as server,
        client(server, variant, node=node("cursed")) as one,  # type: ignore[arg-type]
        client(server, variant, node=node("b")) as other,  # type: ignore[arg-type]
    ):
        await one.asks(CDS)
        assert await one.status() == ("INTERNAL", "a bug of the server ended this stream; its log says more")
        await other.asks(CDS)
        assert b"web.default.svc" in (await other.gets()).SerializeToString()
        assert len(server.engine.connections) == 1, "nothing is left of the first"
    assert "RuntimeError: a bug" in caplog.text
