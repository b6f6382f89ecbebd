"""Streams over a real socket: what only the shell can get wrong. The numbers are those of docs/conformance.md."""

import asyncio
import gc
import logging
import tracemalloc
import weakref
from typing import Any

import pytest
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
)

from steersman.ads.messages import Variant
from steersman.ads.shared import Shared
from steersman.ads.stream import Stream
from steersman.model.limits import Limits, Patience
from steersman.names import CDS, EDS, LDS, SDS
from steersman.server.connection import Connection
from tests.support.clients import client, names_of
from tests.support.static import static_server, until
from tests.support.xds import Mesh, resource

BOTH = pytest.mark.parametrize("variant", list(Variant))


@BOTH
async def test_c06_a_stream_waits_until_the_mesh_is_known(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    async with static_server(mesh) as server, client(server, variant) as one:
        server.serving.ready.clear()
        await one.asks(CDS)
        await until(lambda: server.counters.streams[variant] == 1)
        await asyncio.sleep(0.1)
        assert server.places == []
        server.serving.ready.set()
        assert names_of(await one.gets()) == ["a"]
        assert server.places[0].holds == {CDS: None}


@BOTH
async def test_what_is_pending_is_sent_when_it_comes(variant: Variant) -> None:
    mesh = Mesh()
    mesh.declare(EDS, "a")
    async with static_server(mesh) as server, client(server, variant) as one:
        await one.asks(EDS, "a")
        await until(lambda: bool(server.places and server.places[0].holds))
        assert server.places[0].holds == {EDS: frozenset({"a"})}
        mesh.put(EDS, "a")
        response = await one.gets()
        assert names_of(response) == ["a"]
        await one.acks(response, "a")
        connection = server.places[0].connection
        await until(lambda: connection.status().channels[0].acked is not None)
        assert server.counters.pushes == {"eds": 1}
        assert server.counters.pushed_resources == {"eds": 1}


@BOTH
async def test_c47_a_request_of_many_names_is_refused_in_words(variant: Variant, caplog: pytest.LogCaptureFixture) -> None:
    async with static_server(Mesh()) as server, client(server, variant) as one:
        await one.asks(EDS, *(f"name-{number:0100}" for number in range(66_000)))
        assert await one.status() == ("RESOURCE_EXHAUSTED", "66000 names of eds subscribed, 65536 are allowed (server.xds.limits.names)")
        assert server.counters.closed == {"RESOURCE_EXHAUSTED": 1}
    assert "Traceback" not in caplog.text


@BOTH
async def test_c47_fifty_thousand_names_of_100_characters_are_taken(variant: Variant) -> None:
    mesh = Mesh()
    async with static_server(mesh) as server, client(server, variant) as one:
        names = [f"{number:0100}" for number in range(50_000)]
        mesh.only(EDS, names[7])
        await one.asks(EDS, *names)
        assert names_of(await one.gets()) == [names[7]]


@BOTH
async def test_c47_a_message_past_the_limit_ends_the_stream_and_no_other(variant: Variant, caplog: pytest.LogCaptureFixture) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    limits = Limits(message_size=1 << 20)
    async with static_server(mesh, limits=limits) as server, client(server, variant) as one, client(server, variant) as other:
        await other.asks(CDS)
        await one.asks(EDS, "x" * (1 << 20))
        code, text = await one.status()
        assert code == "RESOURCE_EXHAUSTED"
        assert "larger than max" in text
        assert "1048576" in text
        assert names_of(await other.gets()) == ["a"]
        await until(lambda: len(server.places) == 1)
    assert "Traceback" not in caplog.text


@BOTH
async def test_c45_a_stream_without_a_node_is_refused_in_words(variant: Variant) -> None:
    async with static_server(Mesh()) as server, client(server, variant) as one:
        one.node = None
        await one.asks(CDS)
        assert await one.status() == ("INVALID_ARGUMENT", "the first request of a stream has no node; send it at least there")
        assert server.places == []


@BOTH
async def test_bytes_that_are_no_request_are_refused_in_words(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    async with static_server(mesh) as server, client(server, variant) as one:
        await one.asks(CDS)
        await one.gets()
        await one.call.write(b"\xff\xff\xff")
        code, text = await one.status()
        assert code == "INVALID_ARGUMENT"
        assert "bytes that are no" in text
        await until(lambda: server.places == [])


class Unread:
    """A client of which nothing is read, so that its writer is held; it speaks as fast as it is told to."""

    def __init__(self, first: bytes) -> None:
        self.peer = "ipv4:192.0.2.1:1"
        self.written: list[bytes] = []
        self.room = asyncio.Semaphore(0)
        self.said: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.said.put_nowait(first)

    async def read(self) -> bytes | None:
        return await self.said.get()

    async def write(self, message: bytes) -> None:
        await self.room.acquire()
        self.written.append(message)


def asking(type_url: str, *names: str, nonce: str = "") -> bytes:
    request = DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names, response_nonce=nonce)
    request.node.id = "n"
    return bytes(request.SerializeToString())


async def test_c48_who_does_not_read_costs_one_response_a_type_and_gets_the_latest_in_the_end() -> None:
    mesh = Mesh()
    mesh.only(EDS, "a")
    async with static_server(mesh) as server:
        unread = Unread(asking(EDS, "a"))
        connection = Connection(server.serving, unread, Variant.DELTA, server.counters, Shared(), door=server.xds.door, secrets=True)
        life = asyncio.create_task(connection.run())
        await until(lambda: server.counters.pushes["eds"] == 1)
        for update in range(10_000):
            mesh.put(EDS, f"a={update}")
            if update % 100 == 0:
                await asyncio.sleep(0)
        assert server.counters.pushes == {"eds": 1}
        unread.room.release()
        await until(lambda: len(unread.written) == 1)
        unread.said.put_nowait(asking(EDS, nonce=DeltaDiscoveryResponse.FromString(unread.written[0]).nonce))
        unread.room.release()
        await until(lambda: len(unread.written) == 2)
        last = DeltaDiscoveryResponse.FromString(unread.written[1])
        assert [found.resource.value.rstrip(b"\0") for found in last.resources] == [b"a=9999"]
        unread.said.put_nowait(None)
        assert await life is None
        assert server.places == []


async def test_c48_over_a_socket_the_transport_holds_the_writer_back() -> None:
    """A client that reads nothing takes what its window and buffers hold; that is no more than a few responses, whatever changes."""
    mesh = Mesh()
    names = [f"e{number}" for number in range(40)]
    mesh.tell({EDS: mesh.tables[EDS].replace([resource(name, size=1 << 18) for name in names])})
    async with static_server(mesh) as server, client(server, Variant.DELTA) as one:
        await one.asks(EDS, *names)
        await until(lambda: server.counters.pushes["eds"] == 1)
        for update in range(200):
            mesh.tell({EDS: mesh.tables[EDS].apply([resource(name, str(update), size=1 << 18) for name in names[:2]])})
            await asyncio.sleep(0)
        assert server.counters.pushes["eds"] == 1
        seen: dict[str, bytes] = {}
        while len(seen) < len(names) or seen["e0"] != b"e0=199" or seen["e1"] != b"e1=199":
            response = await one.gets()
            seen |= {found.name: found.resource.value.rstrip(b"\0") for found in response.resources}
            await one.acks(response)
        assert server.counters.pushes["eds"] <= 20


@BOTH
async def test_c49_a_client_that_has_said_all_it_had_to_gets_its_answer_and_leaves_nothing_behind(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    async with static_server(mesh) as server:
        tasks = len(asyncio.all_tasks())
        async with client(server, variant) as one:
            await one.asks(CDS)
            await one.call.done_writing()
            assert names_of(await one.gets()) == ["a"]
            assert await one.gets() is None
            assert (await one.status())[0] == "OK"
        await until(lambda: server.counters.closed == {"OK": 1})
        assert server.places == []
        assert mesh.streams == []
        await until(lambda: len(asyncio.all_tasks()) <= tasks)


@BOTH
async def test_c49_a_connection_is_gone_with_its_stream(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    async with static_server(mesh) as server:
        async with client(server, variant) as one:
            await one.asks(CDS)
            await one.gets()
            [place] = server.places
            seen = weakref.ref(place.connection)
            del place
        await until(lambda: server.places == [])

        def is_gone() -> bool:
            gc.collect()
            return seen() is None

        await until(is_gone)
        # A client that vanishes may look like one that has only said all that it had to say.
        assert server.counters.closed in ({"CANCELLED": 1}, {"OK": 1})


@BOTH
async def test_c50_a_client_that_never_answers_is_given_up(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    async with static_server(mesh, ack_deadline=0.2) as server, client(server, variant) as one:
        await one.asks(CDS)
        await one.gets()
        code, text = await one.status()
        assert code == "DEADLINE_EXCEEDED"
        assert text.startswith("no ACK or NACK of the cds response")
        await until(lambda: server.places == [])


async def test_c50_so_is_one_that_does_not_even_read() -> None:
    mesh = Mesh()
    mesh.only(EDS, "a")
    async with static_server(mesh) as server:
        unread = Unread(asking(EDS, "a"))
        connection = Connection(
            server.serving, unread, Variant.DELTA, server.counters, Shared(), door=server.xds.door, secrets=True, patience=Patience(ack=0.2)
        )
        async with asyncio.timeout(5):
            close = await connection.run()
        assert close is not None
        assert close.code == "DEADLINE_EXCEEDED"
        assert server.places == []
        assert connection.ended == "DEADLINE_EXCEEDED"


@BOTH
async def test_c54_a_bug_costs_one_stream(variant: Variant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    async with static_server(mesh) as server, client(server, variant) as one, client(server, variant) as other:
        await other.asks(CDS)
        await other.gets()
        await one.asks(LDS)
        await one.gets()
        receive = Stream.receive

        def buggy(self: Any, request: Any, now: float = 0.0) -> Any:
            if request.type_url == SDS:
                raise RuntimeError("a bug")
            return receive(self, request, now)

        monkeypatch.setattr(Stream, "receive", buggy)
        await one.asks(SDS, "x")
        assert await one.status() == ("INTERNAL", "a bug of the server ended this stream; its log says more")
        assert server.counters.internal_errors == 1
        assert server.counters.closed == {"INTERNAL": 1}
        await other.asks(EDS, "b")
        if variant is Variant.DELTA:
            assert list((await other.gets()).removed_resources) == ["b"]
        await until(lambda: len(server.places) == 1)
    assert "RuntimeError: a bug" in caplog.text


@BOTH
async def test_c54_a_bug_of_a_push_costs_one_stream(
    variant: Variant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    async with static_server(mesh) as server, client(server, variant) as one:
        await one.asks(CDS)
        await one.gets()

        def buggy(self: Any, now: float = 0.0) -> Any:
            raise RuntimeError("a bug")

        monkeypatch.setattr(Stream, "pump", buggy)
        mesh.put(CDS, "a=2")
        assert (await one.status())[0] == "INTERNAL"
        assert server.counters.internal_errors == 1
        await until(lambda: server.places == [])
    assert "RuntimeError: a bug" in caplog.text


@BOTH
async def test_c55_streams_are_ended_one_after_the_other_and_new_ones_refused(variant: Variant) -> None:
    mesh = Mesh()
    async with (
        static_server(mesh) as server,
        client(server, variant) as one,
        client(server, variant) as two,
        client(server, variant) as silent,
    ):
        for each in (one, two):
            await each.asks(CDS)
            await each.gets()
        await until(lambda: server.counters.streams[variant] == 3)
        await server.xds.drain(1.0)
        for each in (one, two, silent):
            assert await each.status() == ("UNAVAILABLE", "the server is going away; connect again")
        async with client(server, variant) as late:
            assert (await late.status())[0] == "UNAVAILABLE"
        assert server.counters.closed == {"UNAVAILABLE": 3}
        assert server.places == []


async def test_c55_a_stream_that_waits_for_the_mesh_is_drained_too() -> None:
    async with static_server(Mesh()) as server, client(server, Variant.DELTA) as one:
        server.serving.ready.clear()
        await one.asks(CDS)
        await until(lambda: server.counters.streams[Variant.DELTA] == 1)
        await asyncio.sleep(0.05)
        await server.xds.drain(1.0)
        assert (await one.status())[0] == "UNAVAILABLE"


@BOTH
async def test_private_keys_go_over_plaintext_to_a_loopback_address_only(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(SDS, "default")
    mesh.only(CDS, "a")
    async with static_server(mesh, host="0.0.0.0") as server, client(server, variant) as one:
        await one.asks(SDS, "default")
        response = await one.gets()
        assert names_of(response) == []
        [error] = response.resource_errors
        assert (error.resource_name.name, error.error_detail.code) == ("default", 7)
        assert "insecureSecrets" in error.error_detail.message
        await one.acks(response, "default")
        mesh.put(SDS, "default=2")
        await one.asks(CDS)
        assert names_of(await one.gets()) == ["a"], "the stream goes on, and no secret is pushed"
        assert SDS not in {type_url for type_url, names in server.places[0].holds.items() if names is None}
    for host, allowed in (("127.0.0.1", False), ("0.0.0.0", True)):
        async with static_server(mesh, host=host, insecure_secrets=allowed) as server, client(server, variant) as one:
            await one.asks(SDS, "default")
            assert names_of(await one.gets()) == ["default"]


@BOTH
async def test_a_nack_is_logged_with_the_clients_words(variant: Variant, caplog: pytest.LogCaptureFixture) -> None:
    mesh = Mesh()
    mesh.only(CDS, *(f"c{number}" for number in range(30)))
    async with static_server(mesh) as server, client(server, variant) as one:
        await one.asks(CDS)
        response = await one.gets()
        kind = DeltaDiscoveryRequest if variant is Variant.DELTA else DiscoveryRequest
        nack = kind(type_url=CDS, response_nonce=response.nonce)
        nack.error_detail.message = "I don't like it"
        await one.call.write(nack.SerializeToString())
        await until(lambda: any(record.levelno == logging.WARNING for record in caplog.records))
        assert server.counters.rejects == {"cds": 1}
        [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert "I don't like it" in line
        assert " c0, c1, " in line
        assert "and 20 more" in line
        [channel] = server.places[0].connection.status().channels
        assert channel.nack is not None
        assert len(channel.nack.names) == 30


async def test_what_a_client_calls_itself_later_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async with static_server(Mesh()) as server, client(server, Variant.SOTW) as one:
        for number in range(5):
            one.node = Node(id=f"n{number}")
            await one.asks(EDS, f"x{number}")
        await until(lambda: server.places[0].holds.get(EDS) == frozenset({"x4"}) if server.places else False)
        assert [record.getMessage() for record in caplog.records if "mid-stream" in record.getMessage()] == [
            "n0 calls itself n1 in mid-stream: ignored, the first name holds"
        ]


async def test_nothing_of_a_large_request_is_kept_while_the_next_is_waited_for() -> None:
    """An Envoy's first request has 60 KB of Node, most of it its extensions, and the second may be hours away."""
    mesh = Mesh()
    mesh.only(CDS, "a")
    async with static_server(mesh) as server:
        tracemalloc.start()
        try:
            unread = Unread(asking(CDS, *["x" * 4000] * 1000))
            unread.room.release()
            unread.room.release()
            connection = Connection(server.serving, unread, Variant.DELTA, server.counters, Shared(), door=server.xds.door, secrets=True)
            life = asyncio.create_task(connection.run())
            await until(lambda: len(unread.written) == 1)
            after_one, _ = tracemalloc.get_traced_memory()
            unread.said.put_nowait(asking(EDS, *["y" * 4000] * 1000))
            await until(lambda: len(unread.written) == 2)
            after_two, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after_one < 500_000
        assert after_two < 500_000
        life.cancel()
        with pytest.raises(asyncio.CancelledError):
            await life
        assert server.places == []
