"""The Load Reporting Service over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.load_stats.v3.lrs_pb2 import LoadStatsRequest, LoadStatsResponse
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from steersman.admin.loads import Loads
from steersman.model.limits import Limits
from steersman.server.load_reporting import METHOD, SERVICE, _without_node
from tests.admin.test_loads import rates, stats
from tests.support.static import StaticServer, static_server, until
from tests.support.xds import Mesh


@asynccontextmanager
async def reports(server: StaticServer) -> AsyncIterator[Any]:
    """A call that is written and read as bytes."""
    async with grpc.aio.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        call: Any = channel.stream_stream(f"/{SERVICE}/{METHOD}")()
        yield call
        call.cancel()


def node(node_id: str, extensions: int = 0) -> Node:
    return Node(id=node_id, extensions=[{"name": f"extension-{number}"} for number in range(extensions)])


def request(*clusters: Any, node_id: str = "n", extensions: int = 0) -> bytes:
    message = LoadStatsRequest(cluster_stats=clusters)
    if node_id:
        message.node.CopyFrom(node(node_id, extensions))
    return bytes(message.SerializeToString())


async def test_the_first_answer_says_what_to_report_and_how_often() -> None:
    async with static_server(Mesh()) as server, reports(server) as call:
        await call.write(request())
        response = LoadStatsResponse.FromString(await call.read())
        assert response.send_all_clusters
        assert list(response.clusters) == []
        assert response.load_reporting_interval.ToSeconds() == 10
        assert server.loads.reporters == 1
        assert server.counters.streams == {"lrs": 1}


async def test_reports_are_kept_as_long_as_the_stream() -> None:
    async with static_server(Mesh()) as server:
        async with reports(server) as call:
            await call.write(request())
            await call.read()
            await call.write(request(stats("a", z1=(20, 20, 0, 1)), extensions=2000))
            await until(lambda: server.loads.reports == 1)
            now = asyncio.get_running_loop().time()
            assert rates(server.loads, now, proxy="n") == {"r/z1": (2.0, 2.0, 0.0, 1)}
            await call.write(request(stats("a", z1=(10, 0, 10, 0)), node_id=""))
            await until(lambda: server.loads.reports == 2)
            assert rates(server.loads, now, proxy="n") == {"r/z1": (1.5, 1.0, 0.5, 0)}
        await until(lambda: server.loads.reporters == 0)
        assert server.loads.rows == 0
        assert server.loads.totals["a", "r/z1"].issued == 30
        await until(lambda: server.counters.closed.total() == 1)


async def test_a_first_request_may_report_already() -> None:
    async with static_server(Mesh()) as server, reports(server) as call:
        await call.write(request(stats("a", z1=(20, 20, 0, 1))))
        await call.read()
        assert server.loads.totals["a", "r/z1"].issued == 20


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (request(node_id=""), "the first request of a stream has no node; send it at least there"),
        (request(node_id="n" * 5000), "the node has an id of 5000 characters; give it one of 1 to 1024"),
        (b"\xff\xff\xff", "3 bytes that are no LoadStatsRequest"),
    ],
    ids=["no node", "a long id", "no message"],
)
async def test_who_does_not_say_who_it_is_is_refused_in_words(raw: bytes, words: str) -> None:
    async with static_server(Mesh()) as server, reports(server) as call:
        await call.write(raw)
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert words in await call.details()
        assert server.loads.reporters == 0


async def test_bytes_that_are_no_report_end_the_stream_and_no_other() -> None:
    async with static_server(Mesh()) as server, reports(server) as one, reports(server) as other:
        for call in (one, other):
            await call.write(request())
            await call.read()
        await one.write(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
        assert await one.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert server.loads.reporters == 1


async def test_who_says_nothing_at_all_is_given_up() -> None:
    async with static_server(Mesh(), ack_deadline=0.2) as server, reports(server) as call:
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await call.details() == "no request within 0.2 s"
        assert server.loads.reporters == 0


async def test_who_has_been_answered_may_be_silent_as_long_as_it_likes() -> None:
    """A gRPC client that calls nothing has nothing to report."""
    async with static_server(Mesh(), ack_deadline=0.1) as server, reports(server) as call:
        await call.write(request())
        await call.read()
        await asyncio.sleep(0.3)
        assert server.loads.reporters == 1


async def test_streams_of_reports_count_among_those_of_their_node() -> None:
    limits = Limits(streams_per_node=1)
    async with static_server(Mesh(), limits=limits) as server, reports(server) as one, reports(server) as two, reports(server) as other:
        for call, who in ((one, "n"), (other, "m")):
            await call.write(request(node_id=who))
            await call.read()
        await two.write(request())
        assert await two.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "server.xds.limits.streamsPerNode" in await two.details()
        assert server.loads.reporters == 2


async def test_a_bug_costs_one_stream(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async with static_server(Mesh()) as server, reports(server) as call:

        def buggy(self: Loads, proxy: str, now: float) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(Loads, "join", buggy)
        await call.write(request())
        assert await call.code() is grpc.StatusCode.INTERNAL
        assert server.counters.internal_errors == 1
    assert "RuntimeError: a bug" in caplog.text


async def test_streams_of_reports_are_drained_as_well() -> None:
    async with static_server(Mesh()) as server, reports(server) as call:
        await call.write(request())
        await call.read()
        await server.xds.drain(0.1)
        assert await call.code() is grpc.StatusCode.UNAVAILABLE
        assert server.loads.reporters == 0
        async with reports(server) as late:
            assert await late.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_client_that_has_said_all_it_had_to_leaves_nothing_behind() -> None:
    async with static_server(Mesh()) as server, reports(server) as call:
        await call.write(request(stats("a", z1=(1, 1, 0, 1))))
        await call.read()
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK
        assert (server.loads.reporters, server.loads.rows) == (0, 0)
        assert server.counters.closed == {"OK": 1}


@pytest.mark.parametrize("size", [0, 1, 10, 100, 127, 128, 20_000, 70_000])
def test_the_node_is_skipped_by_its_length(size: int) -> None:
    clusters = [stats("a", z1=(1, 2, 3, 4)), stats("b")]
    rest = LoadStatsRequest.FromString(_without_node(request(*clusters, node_id="n" * size)))
    assert list(rest.cluster_stats) == clusters
    assert not rest.HasField("node")


NODES = st.none() | st.builds(lambda node_id, extensions: node(node_id, extensions), st.text(max_size=300), st.integers(0, 20))


@given(NODES, st.lists(st.text(max_size=5), max_size=3), st.binary(max_size=40), st.integers(0, 500))
def test_whatever_is_sent_is_read_as_if_the_node_had_been_decoded_or_refused(
    first: Node | None, clusters: list[str], garbage: bytes, cut: int
) -> None:
    message = LoadStatsRequest(node=first, cluster_stats=[stats(name) for name in clusters])
    for raw in (message.SerializeToString(), message.SerializeToString() + garbage, garbage, message.SerializeToString()[:cut]):
        try:
            whole = LoadStatsRequest.FromString(raw)
        except DecodeError:
            continue  # where it is only the node that is broken, that doesn't matter
        assert list(LoadStatsRequest.FromString(_without_node(raw)).cluster_stats) == list(whole.cluster_stats)


@pytest.mark.parametrize("raw", [b"\x0a\x05abc", b"\x0a\xff\xff\xff\xff\x0f" + bytes(100)])
def test_a_node_that_is_longer_than_its_message_is_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        LoadStatsRequest.FromString(_without_node(raw))


def test_what_does_not_begin_with_a_node_stays_as_it_is() -> None:
    raw = request(stats("a"), node_id="")
    assert _without_node(raw) == raw
    assert _without_node(b"") == b""
    assert _without_node(b"\x0a" + b"\xff" * 20) == b"\x0a" + b"\xff" * 20
