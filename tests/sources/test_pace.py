"""Steps of work with pauses between."""

import asyncio

import pytest

from steersman.sources import pace
from steersman.sources.contents import Steps
from steersman.sources.pace import LEISURE, REST, Leisure, Pace


def steps(done: list[str]) -> Steps[str]:
    for name in "abc":
        done.append(name)
        yield
    return "all"


async def test_others_run_between_stretches_and_what_was_made_is_told_before_each_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "STEP", 0.0)
    done: list[str] = []

    async def other() -> None:
        for _ in range(3):
            done.append("other")
            await asyncio.sleep(0)

    running = asyncio.create_task(other())
    assert await Pace().run(steps(done), lambda: done.append("told")) == "all"
    await running
    assert done == ["a", "told", "other", "b", "told", "other", "c", "told", "other"]


async def test_what_is_short_has_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "STEP", 60.0)
    steady, done = Pace(), list[str]()
    await steady.run(steps([]))
    assert await steady.run(steps(done), lambda: done.append("told")) == "all"
    assert done == ["a", "b", "c"]


async def test_rests_of_what_is_done_at_leisure_get_shorter_so_that_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now, rests = 0.0, list[float]()

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        rests.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    leisure, piece = Leisure(), 0.001
    while now < LEISURE:
        now += piece
        await leisure.rest()
    assert rests[:5] == pytest.approx([REST] * 5, rel=0.02)
    assert rests == sorted(rests, reverse=True)
    assert rests[-1] < piece, "a piece a rest, of however many"
    assert sum(rests) < LEISURE
    now += LEISURE
    await leisure.rest()
    assert rests[-1] == 0
