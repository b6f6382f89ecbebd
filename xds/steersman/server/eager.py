"""Coroutines that begin at once.

Python 3.12 has tasks that do (`asyncio.eager_task_factory`); one of 3.11 begins a round of the loop later, which is half of what a short
one costs.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Eager:
    """A coroutine whose first step is taken by `begin`, there and then, and each further one when what it waits for is done.

    It is no task: what asks for the current one (`asyncio.timeout`, a TaskGroup) finds the caller's, and must not be used in it. Nor
    must it raise.
    """

    __slots__ = ("_coroutine", "_ended", "_waiting")

    def __init__(self, coroutine: Coroutine[Any, None, None]) -> None:
        self._coroutine: Coroutine[Any, None, None] | None = coroutine
        self._waiting: asyncio.Future[Any] | None = None
        self._ended: asyncio.Future[None] | None = None

    def begin(self) -> None:
        self._step()

    async def ended(self, seconds: float) -> None:
        """Waits for its end, at most so long."""
        if self._coroutine is not None:
            self._ended = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._ended}, timeout=seconds)

    def cancel(self) -> None:
        """Ends it where it waits. What comes of that is nobody's any more."""
        if self._waiting is not None:
            self._waiting.remove_done_callback(self._step)
            self._waiting.add_done_callback(_looked_at)
        if self._coroutine is not None:
            self._coroutine.close()
            self._end()

    def _step(self, _: object = None) -> None:
        if self._coroutine is None:
            return
        try:
            self._waiting = waiting = self._coroutine.send(None)
        except StopIteration:
            self._end()
            return
        if waiting is None:  # it only lets others have their turn
            asyncio.get_running_loop().call_soon(self._step)
        else:
            waiting._asyncio_future_blocking = False  # that it is waited for, as a task tells it
            waiting.add_done_callback(self._step)

    def _end(self) -> None:
        self._coroutine = self._waiting = None
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)


def _looked_at(future: asyncio.Future[Any]) -> None:
    """Of an exception that nobody looks at the loop tells the log."""
    if not future.cancelled():
        future.exception()
