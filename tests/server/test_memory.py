"""Memory is given back to the system after work, and only then."""

import asyncio
import ctypes
from types import SimpleNamespace

import pytest

from steersman.server import memory
from tests.support.static import until


async def test_memory_is_given_back_once_for_all_that_was_done_and_not_while_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    looked: list[int] = []
    done = 0

    def work() -> int:
        looked.append(done)
        return done

    monkeypatch.setattr(memory, "PERIOD", 0.001)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(malloc_trim=given.append))
    giving = asyncio.create_task(memory.give_back(work))
    await until(lambda: len(looked) > 3)
    assert given == []
    done = 7
    await until(lambda: looked.count(7) > 3)
    assert given == [0]
    giving.cancel()


async def test_where_the_allocator_knows_no_such_thing_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    async with asyncio.timeout(5):
        await memory.give_back(lambda: 1)
