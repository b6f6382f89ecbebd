"""NACKs on their way to the log, each with the objects that the refused resources were made from.

    connections --note--> batch (equal ones together) --at most one a second--> question to the pipeline --> log

A client that refuses everything, or a thousand that refuse the same, cost a few lines a second and one question.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from steersman.admin.refusals import Asked, Refused, listed, named, suspects_of, traced
from steersman.ads.messages import ErrorDetail, Nacked
from steersman.explain.made_from import MadeFrom
from steersman.names import TYPE_NAMES
from steersman.pipeline import Pipeline

log = logging.getLogger("steersman.xds")

PAUSE: Final = 1.0
"""Seconds from one batch to the next. The first NACK after a quiet time is told at once."""
_LINES: Final = 10
"""Different NACKs told of one batch."""


class _Noted:
    """Who refused it first, and how many times it was refused."""

    __slots__ = ("node_id", "peer", "times")

    def __init__(self, node_id: str, peer: str) -> None:
        self.node_id = node_id
        self.peer = peer
        self.times = 0


class Refusals:
    """Takes NACKs at any rate."""

    def __init__(self, ask: Asked, pipeline: Pipeline) -> None:
        self._ask = ask
        self._pipeline = pipeline
        self._batch: dict[tuple[str, tuple[str, ...], tuple[str, ...], ErrorDetail], _Noted] = {}
        self._untold = 0
        self._arrived = asyncio.Event()

    def note(self, node_id: str, peer: str, nacked: Nacked) -> None:
        """This client refused that."""
        key = (nacked.type_url, nacked.names, nacked.versions, nacked.error)
        noted = self._batch.get(key)
        if noted is None:
            if len(self._batch) >= _LINES:
                self._untold += 1
                return
            noted = self._batch[key] = _Noted(node_id, peer)
        noted.times += 1
        self._arrived.set()

    async def run(self) -> None:
        """Tells them, for ever."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            await self._tell()
            await asyncio.sleep(PAUSE)

    async def _tell(self) -> None:
        batch, self._batch = self._batch, {}
        untold, self._untold = self._untold, 0
        suspects = [
            suspect
            for (type_url, names, versions, error), noted in batch.items()
            for suspect in suspects_of(noted.node_id, type_url, names, versions, error.text)
        ]
        found = await traced(self._ask, self._pipeline, suspects)
        for (type_url, names, versions, error), noted in batch.items():
            more = "once" if noted.times == 2 else f"{noted.times - 1} times"
            again = f", and {more} more," if noted.times > 1 else ","
            made = [found.get(Refused(type_url, name, version), MadeFrom()) for name, version in zip(names, versions, strict=True)]
            words = (TYPE_NAMES.get(type_url, type_url), named(names), noted.node_id, noted.peer, again, _origins(names, made), error.text)
            log.warning("NACK of %s %s by %s (%s)%s which keeps what it had%s: %s", *words)
        if untold:
            log.warning("%d more NACKs within the same second; `steersman proxies` lists what is refused now", untold)


def _origins(names: Sequence[str], made: Sequence[MadeFrom]) -> str:
    """Of each resource that was traced; of a single one without its name."""
    told = [(name, text) for name, one in zip(names, made, strict=True) if (text := listed(one))]
    if not told:
        return ""
    return f" ({told[0][1]})" if len(names) == 1 else " (" + "; ".join(f"{name} {text}" for name, text in told) + ")"
