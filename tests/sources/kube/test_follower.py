"""How long a follower waits for what it reads."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from steersman.model.ids import ClusterID
from steersman.settings import RemovalGuardSettings
from steersman.sources.kube.follower import Follower
from steersman.sources.kube.mirror import Mirror
from steersman.sources.kube.removals import RemovalGuard
from steersman.sources.kube.resources import RESOURCES
from steersman.sources.kube.timing import Timing
from steersman.sources.pace import Pace

EAST = ClusterID("east")
SILENCE = 0.1


class Quiet:
    """An API that answers every request with so many pieces, a while apart, and then with nothing, for ever."""

    def __init__(self, pieces: int) -> None:
        self.asked: list[float] = []
        self.told: list[float] = []
        self.begun, self.again = asyncio.Event(), asyncio.Event()
        """Something was told; a second request was made."""
        self._pieces = pieces

    @asynccontextmanager
    async def request(self, path: str, query: object) -> AsyncIterator[Any]:
        self.asked.append(time.monotonic())
        if len(self.asked) == 2:
            self.again.set()
        yield SimpleNamespace(status=200)

    async def part(self, response: object) -> bytes:
        if len(self.told) == self._pieces:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(0.6 * SILENCE)
        self.told.append(time.monotonic())
        self.begun.set()
        return b"\n"

    body = part


@pytest.fixture
def follower() -> Follower:
    return Follower(
        RESOURCES[0],
        Mirror(EAST, RESOURCES[0]),
        timing=Timing(first_silence=SILENCE),
        random=lambda: 0.0,
        clock=time.time,
        pace=Pace(),
        guard=RemovalGuard(EAST, RemovalGuardSettings(), lambda pod: None, grace=30.0, place=str),
        told=lambda follower: None,
    )


async def ended(running: "asyncio.Task[None]") -> None:
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_watch_is_silent_for_too_long_from_the_last_that_came_of_it(follower: Follower) -> None:
    api = Quiet(pieces=4)
    running = asyncio.create_task(follower.run(api))  # type: ignore[arg-type]
    await api.again.wait()
    await ended(running)
    assert len(api.told) == 4, "each came in time, though all together took longer"
    assert api.asked[1] >= api.told[-1] + SILENCE


async def test_a_watch_that_is_given_up_twice_at_once_is_given_up(follower: Follower) -> None:
    api = Quiet(pieces=1)
    running = asyncio.create_task(follower.run(api))  # type: ignore[arg-type]
    await api.begun.wait()
    for _ in range(3):
        follower.interrupt()
        await asyncio.sleep(0)
    await api.again.wait()
    await ended(running)


async def test_no_timer_is_left_of_a_watch_that_ends(follower: Follower) -> None:
    api = Quiet(pieces=1)
    running = asyncio.create_task(follower.run(api))  # type: ignore[arg-type]
    await api.begun.wait()
    assert follower._timer is not None
    await ended(running)
    assert follower._timer is None
