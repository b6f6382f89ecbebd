"""An xDS server over tables that a test writes by hand: everything but a mesh."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from steersman.admin.counters import Counters
from steersman.admin.loads import Loads
from steersman.ads.messages import Nacked
from steersman.graph import Reader
from steersman.model.limits import LIMITS, PATIENCE, Limits
from steersman.model.proxy import Proxy
from steersman.names import CDS
from steersman.pipeline import Pipeline
from steersman.server.connection import Connection
from steersman.server.refusals import Refusals
from steersman.server.transport import XDSServer
from steersman.settings import Address, XDSSettings
from steersman.snapshot.table import Table
from tests.support.running import loopback
from tests.support.xds import Mesh

T = TypeVar("T")
HOST = loopback(252)
"""Where nobody else takes the port of a server that will come back to it."""


class Place:
    """Where a stream stands: at the mesh's tables. `holds`: what it said it needs, by type."""

    def __init__(self, serving: "Serving", mesh: Mesh, proxy: Proxy, connection: Connection) -> None:
        self.serving = serving
        self.mesh = mesh
        self.proxy = proxy
        self.connection = connection
        self.holds: dict[str, frozenset[str] | None] = {}

    @property
    def tables(self) -> Mapping[str, Table]:
        return self.mesh.served

    def hold(self, type_url: str, names: frozenset[str] | None, named: frozenset[str]) -> None:
        self.holds[type_url] = names

    def clusters_elsewhere(self) -> bool:
        return any(other.connection.takes(CDS) for other in self._of_proxy())

    def warm(self, clusters: Sequence[str]) -> None:
        for other in self._of_proxy():
            other.connection.warm(clusters)

    def _of_proxy(self) -> "list[Place]":
        return [other for other in self.serving.places if other.proxy.id == self.proxy.id]

    def release(self) -> None:
        self.serving.places.remove(self)
        self.mesh.streams.remove(self.connection)


class Serving:
    """Lets every proxy stand at the mesh's tables, once it is `ready`."""

    place = Place

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.ready = asyncio.Event()
        self.ready.set()
        self.places: list[Place] = []
        self.pipeline = Pipeline()
        self.refusals = Refusals(self.ask, self.pipeline)

    async def ask(self, question: Callable[[Reader], T]) -> T:
        return question(self.pipeline.graph.ask)

    def refused(self, proxy: Proxy, peer: str, nacked: Nacked) -> None:
        self.refusals.note(proxy.id, peer, nacked)

    async def attach(self, proxy: Proxy, connection: Connection) -> Place:
        await self.ready.wait()
        mesh = self.mesh_of(proxy)
        place = self.place(self, mesh, proxy, connection)
        self.places.append(place)
        mesh.streams.append(connection)
        return place

    def mesh_of(self, proxy: Proxy) -> Mesh:
        return self.mesh


class StaticServer:
    """A running one. `address`: where it listens."""

    def __init__(self, mesh: Mesh, serving: Serving, server: XDSServer, counters: Counters, loads: Loads, address: str) -> None:
        self.mesh = mesh
        self.serving = serving
        self.xds = server
        self.counters = counters
        self.loads = loads
        self.address = address

    @property
    def places(self) -> list[Place]:
        return self.serving.places


@asynccontextmanager
async def static_server(
    mesh: Mesh | Serving,
    *,
    host: str = HOST,
    port: int = 0,
    insecure_secrets: bool = False,
    ack_deadline: float = PATIENCE.ack,
    limits: Limits = LIMITS,
    ttls: Mapping[str, float] | None = None,
) -> AsyncIterator[StaticServer]:
    """A server for that mesh in this loop; port 0: a free one."""
    serving, counters = mesh if isinstance(mesh, Serving) else Serving(mesh), Counters()
    settings = XDSSettings(
        address=Address(host, port), insecure_secrets=insecure_secrets, ack_deadline=ack_deadline, limits=limits, ttls=ttls or {}
    )
    loads = Loads(settings.load_reporting_interval)
    server = XDSServer(serving, settings, counters, loads)
    bound = await server.start()
    telling = asyncio.create_task(serving.refusals.run())
    try:
        yield StaticServer(serving.mesh, serving, server, counters, loads, f"{'127.0.0.1' if host == '0.0.0.0' else host}:{bound}")
    finally:
        telling.cancel()
        await server.stop()


async def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Returns once it is so."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - what a client makes of it sets no event here
            await asyncio.sleep(0.005)
