"""Coroutines that begin at once."""

import asyncio
import gc

from steersman.server.eager import Eager


class Steps:
    """A coroutine that says how far it is."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.gate = asyncio.Event()
        self.eager = Eager(self._run())

    async def _run(self) -> None:
        try:
            self.taken.append("begun")
            await asyncio.sleep(0)
            self.taken.append("again")
            await self.gate.wait()
            self.taken.append("through")
        finally:
            self.taken.append("ended")


async def test_the_first_step_is_taken_in_the_turn_of_who_begins_it_and_the_others_when_there_is_what_they_wait_for() -> None:
    steps = Steps()
    assert steps.taken == []
    steps.eager.begin()
    assert steps.taken == ["begun"]
    await asyncio.sleep(0)
    assert steps.taken == ["begun", "again"]
    steps.gate.set()
    await steps.eager.ended(5)
    assert steps.taken == ["begun", "again", "through", "ended"]
    await steps.eager.ended(5)


async def test_who_waits_for_its_end_waits_no_longer_than_that() -> None:
    steps = Steps()
    steps.eager.begin()
    await steps.eager.ended(0.01)
    assert "ended" not in steps.taken
    steps.eager.cancel()


async def test_it_is_ended_where_it_waits() -> None:
    waiting, between = Steps(), Steps()
    waiting.eager.begin()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    between.eager.begin()  # its next step is due already
    for steps in (waiting, between):
        steps.eager.cancel()
        steps.gate.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert waiting.taken == ["begun", "again", "ended"]
    assert between.taken == ["begun", "ended"]
    waiting.eager.cancel()
    await waiting.eager.ended(5)


async def test_what_it_waits_for_may_fail() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    seen: list[str] = []

    async def run() -> None:
        try:
            await future
        except ConnectionError as error:
            seen.append(str(error))

    eager = Eager(run())
    eager.begin()
    future.set_exception(ConnectionError("broken"))
    await eager.ended(5)
    assert seen == ["broken"]


async def test_how_that_ends_on_which_it_was_ended_is_nobodys_any_more() -> None:
    loop = asyncio.get_running_loop()
    told: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: told.append(context))

    async def run(future: asyncio.Future[None]) -> None:
        await future

    def given_up(future: asyncio.Future[None]) -> Eager:
        eager = Eager(run(future))
        eager.begin()
        return eager

    later, before = loop.create_future(), loop.create_future()
    given_up(later).cancel()
    eager = given_up(before)
    before.set_exception(ConnectionError("broken"))
    eager.cancel()
    later.set_exception(ConnectionError("broken"))
    await asyncio.sleep(0)
    del eager, later, before
    gc.collect()
    assert told == []
