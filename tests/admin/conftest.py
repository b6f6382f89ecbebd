"""A mesh with a proxy in it, behind the real HTTP and gRPC servers on loopback."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp
import pytest

from steersman.admin.http import serve_http
from steersman.admin.inspect import serve_inspect
from steersman.model.config import MeshConfig
from steersman.names import CDS, EDS
from tests.support import mesh as m
from tests.support.state import FakeState, channel, connection, refused, sidecar

CLIENT = sidecar("client")
SECOND = sidecar("client", cluster="west", ip="10.0.0.78")


@pytest.fixture
def state() -> FakeState:
    mesh = m.Mesh(
        MeshConfig(),
        m.cluster("east", "network-east"),
        m.cluster("west", "network-west"),
        m.service("east", "reviews", cluster_ips=("10.96.0.1",)),
        m.service("west", "reviews", cluster_ips=("10.97.0.1",)),
        m.pod("east", "reviews-1", "10.0.0.5"),
        m.pod("west", "reviews-1", "10.0.0.5"),
        m.slice_of("east", "reviews", "10.0.0.5=reviews-1"),
        m.slice_of("west", "reviews", "10.0.0.5=reviews-1"),
        m.gateway_service("west", "network-west", "192.0.2.2"),
        CLIENT,
        SECOND,
    )
    return FakeState(
        mesh.pipeline,
        connection(CLIENT, number=1),
        connection(SECOND, channel(CDS, acked=False), refused(EDS, "no <b>such</b> cluster", "outbound|80||a"), number=2),
    )


class Answer(NamedTuple):
    status: int
    kind: str
    text: str


class Site:
    """The pages of a state, asked over a socket."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._base = base

    async def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        async with self._session.request(method, f"{self._base}{path}", headers=headers) as response:
            return Answer(response.status, response.content_type, await response.text())


@pytest.fixture
async def site(state: FakeState) -> AsyncIterator[Site]:
    runner, port = await serve_http(state, "127.0.0.1", 0)
    async with aiohttp.ClientSession() as session:
        yield Site(session, f"http://127.0.0.1:{port}")
    await runner.cleanup()


@pytest.fixture
async def inspect_port(state: FakeState) -> AsyncIterator[int]:
    server, port = await serve_inspect(state, "127.0.0.1:0")
    yield port
    await server.stop(None)
