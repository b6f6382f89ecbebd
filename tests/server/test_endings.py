"""Clients that end without a word, or don't end: over real sockets, and of real processes. The numbers are those of docs/conformance.md."""

import asyncio
import os
import signal
import time

import pytest

from steersman.ads.messages import Variant
from steersman.names import CDS, EDS
from tests.bench import processes
from tests.support.clients import client, names_of
from tests.support.static import StaticServer, static_server, until
from tests.support.talker import talker
from tests.support.xds import Mesh, resource

BOTH = pytest.mark.parametrize("variant", list(Variant))


def acknowledged(server: StaticServer, node: str = "talker") -> bool:
    """Whether that client has said that it has everything."""
    statuses = [place.connection.status() for place in server.places if place.proxy.id == node]
    return any(channel.acked is not None and not channel.pending for status in statuses for channel in status.channels)


@BOTH
async def test_c50_a_client_that_is_killed_is_gone_within_a_second(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    async with static_server(mesh) as server:
        tasks = len(asyncio.all_tasks())
        with talker(server.address, variant) as process:
            await until(lambda: acknowledged(server))
            process.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            await until(lambda: server.places == [])
            assert time.monotonic() - killed < 1.0
        assert mesh.streams == []
        await until(lambda: len(asyncio.all_tasks()) <= tasks)


@BOTH
async def test_c50_a_client_that_is_stopped_is_given_up_at_the_ack_deadline_and_not_before_it_owes_an_answer(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    async with static_server(mesh, ack_deadline=0.5) as server:
        with talker(server.address, variant) as process:
            await until(lambda: acknowledged(server))
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(1.5)
            assert len(server.places) == 1, "it owes nothing"
            changed = time.monotonic()
            mesh.put(CDS, "a=2")
            await until(lambda: server.places == [])
            assert time.monotonic() - changed >= 0.5
            assert server.counters.closed == {"DEADLINE_EXCEEDED": 1}


@BOTH
async def test_c38_a_client_that_comes_again_is_served_at_once_beside_its_half_open_stream(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    async with static_server(mesh, ack_deadline=1.0) as server:
        with talker(server.address, variant) as old:
            await until(lambda: acknowledged(server))
            old.send_signal(signal.SIGSTOP)
            [half_open] = server.places
            mesh.put(CDS, "a=2")
            with talker(server.address, variant):
                await until(lambda: any(place is not half_open and place.proxy.id == "talker" for place in server.places))
                await until(lambda: acknowledged(server))
                await until(lambda: half_open not in server.places)
                [place] = server.places
                await asyncio.sleep(1.2)
                assert server.places == [place], "the new one stays"
                mesh.put(CDS, "a=3")
                await until(lambda: place.connection.status().channels[0].pending == 0)
                assert server.counters.closed == {"DEADLINE_EXCEEDED": 1}


@BOTH
async def test_a_stream_that_was_never_answered_but_owes_nothing_is_not_given_up(variant: Variant) -> None:
    mesh = Mesh()
    mesh.declare(EDS, "late")
    async with static_server(mesh, ack_deadline=0.3) as server, client(server, variant) as one:
        await one.asks(EDS, "late")
        await until(lambda: bool(server.places and server.places[0].holds))
        await asyncio.sleep(1.0)
        assert len(server.places) == 1
        mesh.put(EDS, "late")
        assert names_of(await one.gets()) == ["late"]


@BOTH
async def test_a_stream_that_says_nothing_is_given_up(variant: Variant) -> None:
    async with static_server(Mesh(), ack_deadline=0.3) as server, client(server, variant) as one:
        assert await one.status() == ("DEADLINE_EXCEEDED", "no request within 0.3 s")
        assert server.counters.closed == {"DEADLINE_EXCEEDED": 1}


@BOTH
async def test_c48_a_client_that_is_stopped_through_ten_thousand_updates_costs_one_response_and_goes_on_with_the_latest(
    variant: Variant,
) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    async with static_server(mesh) as server:
        with talker(server.address, variant) as process:
            await until(lambda: acknowledged(server))
            process.send_signal(signal.SIGSTOP)
            before = processes.private(os.getpid())
            sent = server.counters.pushes["cds"]
            for update in range(10_000):
                mesh.tell({CDS: mesh.tables[CDS].apply([resource("a", str(update), size=10_000)])})
                if update % 10 == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(0.2)
            assert server.counters.pushes["cds"] <= sent + 1
            assert processes.private(os.getpid()) - before < 10_000_000, "of 100 MB that the updates were"
            process.send_signal(signal.SIGCONT)

            def latest() -> bool:
                [channel] = server.places[0].connection.status().channels
                return channel.acked is not None and channel.acked.version == mesh.tables[CDS].version

            await until(latest)
            assert server.counters.pushes["cds"] <= sent + 2
