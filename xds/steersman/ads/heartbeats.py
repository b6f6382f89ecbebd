"""Time to live: what a client is sent vanishes there when it is over, unless a heartbeat comes first. One type on one stream.

A heartbeat is a response of resources without bodies: name, version and time to live. A client takes it for one only where it holds that
very version, so what it holds is known here even where it refused what came last.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from steersman.ads.batch import ASKED, Held
from steersman.ads.messages import FULL_STATE, ErrorDetail, Nacked, Response, Variant
from steersman.resources.resource import Resource
from steersman.snapshot.table import resource_size

if TYPE_CHECKING:
    from steersman.ads.channel import Channel

_BEATS: Final = 3
"""Heartbeats in a time to live: two may be late, or lost with their stream, before anything vanishes."""

_OVERHEAD: Final = 64
"""More than the bytes that a resource without a body takes in a response beside its name and its version."""


class Heartbeats:
    """`ttl`: seconds. `at`: when the next heartbeat is due, if it can be sent then; None while the client holds nothing. `since`: when the
    heartbeat was sent that the client has not answered yet: until then there is no other. `followed`: what the client holds of that which
    it is to get once more, though it has not asked.
    """

    __slots__ = ("_answered", "_before", "_full", "_kept", "_outstanding", "at", "followed", "since", "ttl")

    def __init__(self, ttl: float) -> None:
        self.ttl = ttl
        self.at: float | None = None
        self.since: float | None = None
        self._outstanding: dict[str, Response] = {}
        self._answered = ""
        self._before: Mapping[str, Held] = {}
        self._full: tuple[Resource, ...] | None = None
        self._kept: dict[str, Held] = {}
        self.followed: dict[str, Held] = {}

    # -- what the client holds ----------------------------------------------------------------------------------------------------

    def reopened(self, now: float) -> None:
        """The client holds something that another server, or another stream, has sent: nobody knows how long it has to live."""
        self.at = now

    def sends(self, before: Mapping[str, Held], *unsaid: Mapping[str, Held]) -> None:
        """A response is made, of resources of which the client holds this; what is unsaid is for later."""
        self._before = before
        if self.followed:
            self._before = {name: self.followed.get(name, held) for name, held in before.items()}
            self.followed = {name: held for name, held in self.followed.items() if any(known.get(name) == ASKED for known in unsaid)}

    def sent(self, now: float) -> None:
        """It goes out now."""
        if self.at is None:
            self.at = now + self.ttl / _BEATS

    def accepted(self, response: Response) -> None:
        if _is_full_state(response):
            self._full = response.resources
            self._kept.clear()
        elif self._kept:
            for name in (*(resource.name for resource in response.resources), *response.removed):
                self._kept.pop(name, None)

    def refused(self, response: Response, names: Iterable[str]) -> None:
        """The client keeps what it had of these, for as long as it refuses. Of a full state that is what it last took as a whole."""
        before = self._before
        if _is_full_state(response):
            had = {resource.name: resource.version for resource in self._full or ()}
            before = {name: had.get(name) for name in names}
        for name in names:
            if name in before:
                self._kept.setdefault(name, before[name])

    def narrow(self, names: frozenset[str]) -> None:
        """The client subscribes to these alone from now on. What it has of others it forgets, whatever it subscribes to later."""
        if self._full is not None:
            self._full = tuple(resource for resource in self._full if resource.name in names)
        for known in (self._kept, self.followed):
            for name in [name for name in known if name not in names]:
                del known[name]
        if not names:
            self._outstanding.clear()  # a client may drop what it no longer wants without a word
            self.since = None

    def _held(self, channel: "Channel", largest: int | None) -> Sequence[Resource]:
        """What the client holds, or will when it has read what is on its way; resources other than the table's are without bodies."""
        full = self._full
        if channel.inflight is not None:
            full = channel.inflight.response.resources if _is_full_state(channel.inflight.response) else None
        if full is not None:
            return tuple(resource for resource in full if channel.covers(resource.name))
        differs: dict[str, Held] = {**(channel.sweep or {}), **channel.dirty, **channel.waiting, **self.followed}
        for name, held in self._kept.items():
            if channel.covers(name) and (name in differs or channel.look_up(name) is not None):
                differs[name] = held
        content: Sequence[Resource] = channel.table.content() if channel.wildcard and channel.sweep is None else ()
        named = (channel.look_up(name) for name in sorted(channel.names) if not channel.wildcard or channel.table.listed(name) is None)
        if besides := [answer for answer in named if isinstance(answer, Resource)]:
            content = sorted((*content, *besides), key=lambda resource: resource.name)
        if largest is not None:
            content = tuple(resource for resource in content if resource_size(resource) <= largest)
        if not differs:
            return content
        same = [resource for resource in content if resource.name not in differs]
        others = [Resource(name=name, version=version, parts=()) for name, version in differs.items() if version]
        return sorted((*same, *others), key=lambda resource: resource.name)

    # -- heartbeats ---------------------------------------------------------------------------------------------------------------

    def due(self, now: float) -> bool:
        return self.at is not None and now >= self.at and not self._outstanding

    def deadline(self, patience: float) -> float | None:
        """When to look again: for the next heartbeat, or for the answer to the last."""
        return self.at if self.since is None else self.since + patience

    def overdue(self, now: float, patience: float) -> bool:
        return self.since is not None and now >= self.since + patience

    def beat(self, channel: "Channel", now: float, *, limit: int, largest: int | None) -> list[tuple[Resource, ...]]:
        """What goes into the heartbeat that is due now, each part of which takes at most `limit` bytes."""
        parts: list[list[Resource]] = []
        room = 0
        for resource in self._held(channel, largest):
            size = len(resource.name) + len(resource.version) + _OVERHEAD
            if room < size:
                parts.append([])
                room = limit
            parts[-1].append(resource)
            room -= size
        self.at = now + self.ttl / _BEATS if parts else None
        return [tuple(part) for part in parts]

    def went_out(self, nonce: str, response: Response, now: float) -> None:
        self._outstanding[nonce] = response
        self.since = now

    def is_answer(self, nonce: str) -> bool:
        """Whether this is the nonce of a heartbeat. That of the last may come again: clients repeat it when they subscribe."""
        return nonce in self._outstanding or (bool(nonce) and nonce == self._answered)

    def answer(self, nonce: str, error: ErrorDetail | None) -> Nacked | None:
        """The client answers a heartbeat. Of what it refuses it is not known what it holds: that is left alone until it is sent again."""
        response = self._outstanding.pop(nonce, None)
        if response is None:
            return None
        self._answered = nonce
        if not self._outstanding:
            self.since = None
        if error is None:
            return None
        names = tuple(resource.name for resource in response.resources)
        self._kept.update(dict.fromkeys(names))
        return Nacked(response.type_url, response.version, names, error, tuple(resource.version for resource in response.resources))


def _is_full_state(response: Response) -> bool:
    return response.variant is Variant.SOTW and response.type_url in FULL_STATE
