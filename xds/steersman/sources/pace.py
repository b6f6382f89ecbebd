"""Work in small steps, so that the rest of the event loop runs meanwhile."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from steersman.sources.contents import Steps

T = TypeVar("T")

STEP = 0.003
"""Seconds of the event loop that decoding takes at a stretch. Whoever waits for a timer may wait for three of them."""
REST = 0.1
"""Seconds between two pieces of what is done at leisure, at first."""
LEISURE = 30.0
"""Seconds of such work after which it rests no more."""


class Pace:
    """Lets the rest of the event loop run every STEP seconds, over however many things are done meanwhile, in however many tasks."""

    def __init__(self) -> None:
        self._until = 0.0
        self._turn = asyncio.Lock()

    async def run(self, steps: Steps[T], pausing: Callable[[], None] | None = None) -> T:
        """The result of the steps. `pausing` is called before each pause: what has been made can be told already."""
        now = asyncio.get_running_loop().time
        while True:
            try:
                next(steps)
            except StopIteration as done:
                result: T = done.value
                return result
            if now() >= self._until:
                if pausing is not None:
                    pausing()
                async with self._turn:  # one task a round of the loop, the others wait in line
                    await asyncio.sleep(0)
                    self._until = now() + STEP


class Leisure:
    """Of work that nobody waits for, which begins now. With rests between its pieces it takes a small share of the event loop; the longer
    it has lasted the shorter they are, so that it ends soon however much there is."""

    def __init__(self) -> None:
        self._began = asyncio.get_running_loop().time()

    async def rest(self) -> None:
        """Between two pieces."""
        lasted = asyncio.get_running_loop().time() - self._began
        await asyncio.sleep(REST * max(0.0, 1 - lasted / LEISURE))
