"""The scenarios of the public conformance harness, run by our own runner over real sockets."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from steersman.ads.messages import Acked, Variant
from steersman.ads.stream import Stream
from steersman.names import CDS
from tests.conformance.adapter import messages, target
from tests.conformance.runner import NODE, TYPES, connected, run
from tests.conformance.scenarios import SCENARIOS, Row, Scenario


def runs(*, aggregated: bool) -> Iterator[tuple[Scenario, Row, Variant]]:
    for scenario in SCENARIOS:
        for variant in scenario.variants if aggregated or scenario.alone else ():
            for row in scenario.rows:
                yield scenario, row, variant


def named(found: tuple[Scenario, Row, Variant]) -> str:
    scenario, row, variant = found
    return f"{variant}-{row['xds']}-{scenario.title}"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("found", tuple(runs(aggregated=True)), ids=named)
async def test_aggregated(found: tuple[Scenario, Row, Variant]) -> None:
    async with target() as server:
        await run(server, *found, aggregated=True)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("found", tuple(runs(aggregated=False)), ids=named)
async def test_per_type(found: tuple[Scenario, Row, Variant]) -> None:
    async with target() as server:
        await run(server, *found, aggregated=False)


def test_they_are_as_many_as_the_public_ones() -> None:
    assert len(SCENARIOS) == 18
    assert len([*runs(aggregated=True), *runs(aggregated=False)]) == 98


async def test_a_server_that_answers_an_ack_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    receive = Stream.receive

    def chatty(self: Any, request: Any, now: float = 0.0) -> Any:
        actions = receive(self, request, now)
        if any(isinstance(action, Acked) for action in actions) and self._count == 1:
            channel = self._channels[request.type_url]
            channel.ask(channel.table.names())
            actions += self.pump(now)
        return actions

    monkeypatch.setattr(Stream, "receive", chatty)
    found = next(one for one in runs(aggregated=True) if one[1]["xds"] == "RDS")
    async with target() as server:
        with pytest.raises(AssertionError, match="more than necessary"):
            await run(server, *found, aggregated=True)


async def test_what_was_cleared_is_not_known_and_what_is_set_again_is_sent() -> None:
    async with target() as server, connected(server, Variant.DELTA, None) as (adapter, stream):
        with pytest.raises(grpc.aio.AioRpcError, match="SetState comes first"):
            await adapter.AddResource(messages.ResourceRequest(node=NODE, typeUrl=CDS, resourceName="A", version="1"))
        await adapter.SetState(messages.SetStateRequest(node=NODE, version="1"))
        await adapter.AddResource(messages.ResourceRequest(node=NODE, typeUrl=CDS, resourceName="A", version="1"))
        await stream.ask(CDS, ())
        assert [one.name for one in (await stream.get()).resources] == ["A"]
        await adapter.ClearState(messages.clearStateRequest(node=NODE))
        with pytest.raises(grpc.aio.AioRpcError, match="SetState comes first"):
            await adapter.UpdateResource(messages.ResourceRequest(node=NODE, typeUrl=CDS, resourceName="A", version="2"))
        await adapter.SetState(messages.SetStateRequest(node=NODE, version="3"))
        assert list((await stream.get()).removed_resources) == ["A"]
        assert await stream.rest() == []


@pytest.mark.parametrize("short", TYPES)
async def test_what_cannot_be_done_is_refused_in_words(short: str) -> None:
    async with target() as server, connected(server, Variant.DELTA, None) as (adapter, _):
        await adapter.SetState(messages.SetStateRequest(node=NODE, version="1"))

        def one(name: str, type_url: str = TYPES[short]) -> Any:
            return messages.ResourceRequest(node=NODE, typeUrl=type_url, resourceName=name, version="1")

        with pytest.raises(grpc.aio.AioRpcError, match="has no resource 'A'"):
            await adapter.UpdateResource(one("A"))
        await adapter.AddResource(one("A"))
        with pytest.raises(grpc.aio.AioRpcError, match=r"has a resource 'A' of type .* already"):
            await adapter.AddResource(one("A"))
        with pytest.raises(grpc.aio.AioRpcError, match="no type of resource"):
            await adapter.AddResource(one("A", "example.com/none"))
        await adapter.RemoveResource(one("A"))
        with pytest.raises(grpc.aio.AioRpcError, match="has no resource 'A'"):
            await adapter.RemoveResource(one("A"))
