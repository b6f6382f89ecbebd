"""NACKs on their way to the log: told with what was refused and why, and never a storm of lines or questions."""

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest

from steersman.ads.messages import ErrorDetail, Nacked, Variant
from steersman.graph import Reader
from steersman.names import CDS
from steersman.server import refusals
from steersman.server.refusals import Refusals
from tests.support.clients import client
from tests.support.mesh import Mesh as Objects
from tests.support.mesh import cluster, service
from tests.support.served import resources_of, sidecar
from tests.support.static import static_server, until
from tests.support.xds import Mesh

T = TypeVar("T")
BOTH = pytest.mark.parametrize("variant", list(Variant))
CLIENT = sidecar()
NAME = "outbound|80||web.default.svc.cluster.local"


class Told:
    """Refusals over a mesh of one service, and what they ask and tell."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.mesh = Objects(cluster("east", "net"), service("east", "web"), CLIENT)
        self.version = resources_of(self.mesh, CLIENT, CDS)[NAME].version
        self.questions = 0
        self.refusals = Refusals(self.ask, self.mesh.pipeline)
        self._caplog = caplog

    async def ask(self, question: Callable[[Reader], T]) -> T:
        self.questions += 1
        return question(self.mesh.pipeline.graph.ask)

    def refuse(self, node_id: str = CLIENT.id, *names: str, text: str = "no such thing", version: str = "") -> None:
        names = names or (NAME,)
        versions = tuple(version or self.version for _ in names)
        self.refusals.note(node_id, "ipv4:10.0.0.9:1", Nacked(CDS, "7", names, ErrorDetail(13, text), versions))

    async def lines(self, seconds: float = 0.3) -> list[str]:
        self._caplog.clear()
        task = asyncio.create_task(self.refusals.run())
        await asyncio.sleep(seconds)
        task.cancel()
        return [record.getMessage() for record in self._caplog.records if record.levelno == logging.WARNING]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    return Told(caplog)


async def test_a_nack_is_told_with_its_objects_and_the_clients_words(told: Told) -> None:
    told.refuse(text="'x'\nis bad")
    assert await told.lines() == [
        f"NACK of cds {NAME} by {CLIENT.id} (ipv4:10.0.0.9:1), which keeps what it had (made from Service east/default/web): 'x'\nis bad"
    ]


async def test_one_that_is_another_by_now_is_told_so(told: Told) -> None:
    told.refuse(version="older")
    [line] = await told.lines()
    assert "(made from Service east/default/web, which make another of it by now)" in line


async def test_c22_a_thousand_that_refuse_the_same_are_one_line_and_one_question(told: Told) -> None:
    for number in range(1_000):
        told.refuse(f"n{number}" if number else CLIENT.id)
    [line] = await told.lines()
    assert f"by {CLIENT.id} (ipv4:10.0.0.9:1), and 999 times more, which keeps what it had" in line
    assert told.questions == 1


async def test_c22_a_client_that_refuses_everything_is_told_of_in_a_few_lines(told: Told) -> None:
    for number in range(1_000):
        told.refuse(CLIENT.id, NAME, text=f"number {number}")
    lines = await told.lines()
    assert len(lines) == 11
    assert lines[-1] == "990 more NACKs within the same second; `steersman proxies` lists what is refused now"
    assert told.questions == 1


async def test_c22_of_a_refusal_of_thousands_a_few_are_traced(told: Told) -> None:
    names = tuple(f"c{number}" for number in range(3_000))
    told.refuse(CLIENT.id, NAME, *names)
    [line] = await told.lines()
    assert "and 2991 more by" in line
    assert line.count("made from") == 1
    assert len(line) < 1_000


async def test_those_that_come_later_wait_a_second_for_each_other(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "PAUSE", 0.2)
    loop = asyncio.get_running_loop()
    began = loop.time()
    task = asyncio.create_task(told.refusals.run())
    for _ in range(10):
        told.refuse()
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    task.cancel()
    assert 2 <= told.questions <= 1 + (loop.time() - began) / 0.2


@BOTH
async def test_c22_a_loop_of_nacks_over_a_socket_costs_no_more_than_the_updates(variant: Variant, caplog: pytest.LogCaptureFixture) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a=0")
    updates = 200
    async with static_server(mesh) as server, client(server, variant) as one:
        await one.asks(CDS)
        for update in range(1, updates + 1):
            response = await one.gets()
            kind = DeltaDiscoveryRequest if variant is Variant.DELTA else DiscoveryRequest
            nack = kind(type_url=CDS, response_nonce=response.nonce)
            nack.error_detail.message = f"refused {update}"
            await one.call.write(nack.SerializeToString())
            await until(lambda: server.counters.rejects["cds"] == update)  # noqa: B023
            mesh.put(CDS, f"a={update}")
        await until(lambda: server.counters.pushes["cds"] >= updates)
        assert server.counters.pushes["cds"] <= updates + 1
        [channel] = server.places[0].connection.status().channels
        assert channel.nack is not None
        assert channel.nack.names == ("a",)
    seconds = caplog.records[-1].created - caplog.records[0].created
    told = [record for record in caplog.records if "NACK" in record.getMessage()]
    assert len(told) <= 11 * (seconds + 1), "a few lines a second, however many there are"
