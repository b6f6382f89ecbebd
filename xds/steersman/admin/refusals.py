"""What clients refused, traced to the objects that it was made from: for the log, `proxies`, findings and figures alike."""

import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol, TypeVar

from steersman.admin.state import ConnectionStatus
from steersman.explain.made_from import MadeFrom, made_from
from steersman.graph import ComputeFailed, Reader
from steersman.pipeline import Pipeline

T = TypeVar("T")

TRACED: Final = 100
"""Resources traced for one question; that many proxies refuse the same counts once."""
PER_NACK: Final = 5
"""Resources traced of one NACK: one whose words name none is about all of its response."""
_NAMED: Final = 10
"""Names listed in a line."""
_STRETCH: Final = 0.010
"""Seconds of the event loop that tracing takes at a time."""


class Refused(NamedTuple):
    """A resource that a client refused."""

    type_url: str
    name: str
    version: str


class Suspect(NamedTuple):
    """A resource, one of the proxies that refused it, and its words."""

    refused: Refused
    node_id: str
    words: str


class Asked(Protocol):
    """Puts a question to the settled pipeline (see ServerState.ask)."""

    def __call__(self, question: Callable[[Reader], T], /) -> Awaitable[T]: ...


def suspects_of(node_id: str, type_url: str, names: Iterable[str], versions: Iterable[str], words: str) -> Iterator[Suspect]:
    """The first resources of a NACK."""
    for name, version, _ in zip(names, versions, range(PER_NACK)):  # noqa: B905 - as many as there are, and no more than that
        yield Suspect(Refused(type_url, name, version), node_id, words)


def refused_by(connections: Iterable[ConnectionStatus]) -> Iterator[Suspect]:
    """What these streams' clients refuse now."""
    for connection in connections:
        for channel in connection.channels:
            nack = channel.nack
            if nack is not None:
                yield from suspects_of(connection.proxy.id, channel.type_url, nack.names, nack.versions, nack.error.text)


async def traced(ask: Asked, pipeline: Pipeline, suspects: Iterable[Suspect]) -> Mapping[Refused, MadeFrom]:
    """What each was made from, at most TRACED of them, in small steps."""
    of: dict[Refused, Suspect] = {}
    for suspect in suspects:
        if len(of) >= TRACED:
            break
        of.setdefault(suspect.refused, suspect)
    waiting, found = deque(of.values()), dict[Refused, MadeFrom]()

    def some(read: Reader) -> None:
        until = time.monotonic() + _STRETCH
        with pipeline.graph.answering():
            while waiting and time.monotonic() < until:
                suspect = waiting.popleft()
                try:
                    found[suspect.refused] = made_from(
                        read, pipeline.graph.inputs_of, pipeline.origins, suspect.node_id, suspect.refused, suspect.words
                    )
                except ComputeFailed:
                    found[suspect.refused] = MadeFrom(changed=True)

    while waiting:
        await ask(some)
    return found


def listed(made: MadeFrom) -> str:
    """As a half-sentence, such as "made from Service east/default/web (web.yaml:3) and 2 others"; "" where nothing is known."""
    if not made.objects:
        return "it is gone by now" if made.changed else ""
    objects = ", ".join(f"{one.object} ({one.place})" if one.place else one.object for one in made.objects)
    others = f" and {made.others} more" if made.others else ""
    return f"made from {objects}{others}" + (", which make another of it by now" if made.changed else "")


def named(names: Sequence[str]) -> str:
    """A line's worth of names."""
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
