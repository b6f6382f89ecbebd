"""How many streams are let in, over real sockets. The numbers are those of docs/conformance.md."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from envoy.config.core.v3.base_pb2 import Node

from steersman.ads.messages import Variant
from steersman.model.limits import Limits
from steersman.names import CDS, EDS
from tests.support.clients import Client, client, names_of
from tests.support.static import StaticServer, static_server, until
from tests.support.xds import Mesh

BOTH = pytest.mark.parametrize("variant", list(Variant))


async def opened(stack: AsyncExitStack, server: StaticServer, variant: Variant, number: int) -> Client:
    """One more stream, that the server knows of and that says nothing yet."""
    one = await stack.enter_async_context(client(server, variant, node=Node(id=f"n{number}")))
    await until(lambda: server.counters.streams.total() + server.counters.turned_away.total() > number)
    return one


@BOTH
async def test_streams_of_a_node_are_limited_and_the_others_of_it_go_on(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    async with static_server(mesh, limits=Limits(streams_per_node=2)) as server, AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(client(server, variant, node=Node(id="n"))) for _ in range(2)]
        for each in (one, two):
            await each.asks(CDS)
            assert names_of(await each.gets()) == ["a"]
        async with client(server, variant, node=Node(id="n")) as third:
            await third.asks(CDS)
            text = "2 streams of the node 'n' are open, as many as one may have (server.xds.limits.streamsPerNode)"
            assert await third.status() == ("RESOURCE_EXHAUSTED", text)
        async with client(server, variant, node=Node(id="another")) as other:
            await other.asks(CDS)
            assert names_of(await other.gets()) == ["a"]
        await one.call.done_writing()
        await until(lambda: server.counters.closed["OK"] == 1)
        async with client(server, variant, node=Node(id="n")) as again:
            await again.asks(CDS)
            assert names_of(await again.gets()) == ["a"], "one has left"
        assert server.counters.turned_away == {"streamsPerNode": 1}


@BOTH
async def test_streams_of_all_are_limited_those_among_them_that_have_said_nothing_yet(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    async with static_server(mesh, limits=Limits(streams=2)) as server, AsyncExitStack() as stack:
        one, _, third = [await opened(stack, server, variant, number) for number in range(3)]
        await one.asks(CDS)
        assert names_of(await one.gets()) == ["a"]
        assert await third.status() == ("RESOURCE_EXHAUSTED", "2 streams are open, as many as there may be (server.xds.limits.streams)")
        await one.asks(EDS, "b")
        mesh.put(EDS, "b")
        await until(lambda: server.counters.pushes["eds"] > 0)
        assert server.counters.turned_away == {"streams": 1}


@BOTH
async def test_a_full_line_turns_streams_away_in_words_and_the_rest_come_in_in_time(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    limits = Limits(new_streams_per_second=1, waiting_streams=4)
    async with static_server(mesh, limits=limits) as server, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client(server, variant, node=Node(id=f"n{number}"))) for number in range(4)]
        for each in clients:
            await each.asks(CDS)
            await until(lambda: server.counters.turned_away.total() + len(server.places) + server.xds.door.waiting > clients.index(each))  # noqa: B023
        text = "2 streams are in line, too many for another; connect again later (server.xds.limits.waitingStreams)"
        assert await clients[3].status() == ("UNAVAILABLE", text)
        for each in clients[:3]:
            assert names_of(await each.gets()) == ["a"]
        assert server.counters.turned_away == {"waitingStreams": 1}
        assert server.counters.waits.count == 3
        assert server.counters.waits.total > 1.5


@BOTH
async def test_who_leaves_the_line_holds_nobody_up(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    async with static_server(mesh, limits=Limits(new_streams_per_second=1)) as server, client(server, variant) as last:
        tasks = len(asyncio.all_tasks())
        async with AsyncExitStack() as stack:
            for number in range(20):
                one = await stack.enter_async_context(client(server, variant, node=Node(id=f"n{number}")))
                await one.asks(CDS)
            await until(lambda: server.xds.door.waiting >= 18)
        await until(lambda: server.xds.door.waiting == 0)
        await last.asks(CDS)
        assert names_of(await last.gets()) == ["a"]
        await until(lambda: len(server.places) == 1)
        await until(lambda: len(asyncio.all_tasks()) <= tasks + 5)


@BOTH
async def test_c55_who_stands_in_line_is_drained_too(variant: Variant) -> None:
    async with static_server(Mesh(), limits=Limits(new_streams_per_second=1)) as server, AsyncExitStack() as stack:
        server.serving.ready.clear()
        clients = [await stack.enter_async_context(client(server, variant, node=Node(id=f"n{number}"))) for number in range(10)]
        for each in clients:
            await each.asks(CDS)
        await until(lambda: server.counters.streams.total() == 10 and server.xds.door.waiting > 0)
        await server.xds.drain(1.0)
        for each in clients:
            assert await each.status() == ("UNAVAILABLE", "the server is going away; connect again")
        assert server.xds.door.waiting == 0


@BOTH
async def test_who_comes_again_and_again_delays_no_other(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    async with static_server(mesh, limits=Limits(new_streams_per_second=20)) as server, AsyncExitStack() as stack:
        for _ in range(40):
            looping = await stack.enter_async_context(client(server, variant, node=Node(id="loop")))
            await looping.asks(CDS)
        await until(lambda: server.xds.door.waiting > 20)
        others = [await stack.enter_async_context(client(server, variant, node=Node(id=f"n{number}"))) for number in range(3)]
        for other in others:
            await other.asks(CDS)
        for other in others:
            assert names_of(await other.gets()) == ["a"]
        assert server.xds.door.waiting > 10, "those that came first are still in line"
