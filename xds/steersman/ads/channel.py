"""One type on one stream: what the client subscribes to, and in what its knowledge differs from the table."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Final

from steersman.ads.batch import ASKED, Batch, Held
from steersman.ads.heartbeats import Heartbeats
from steersman.ads.messages import Acked, ErrorDetail, Nacked, Response, Stale
from steersman.ads.suspects import suspects
from steersman.model.objects import Row
from steersman.names import EDS, LDS
from steersman.resources.resource import Resource
from steersman.snapshot.table import PENDING, Answer, Change, Refused, Table


class _Everything:
    """Contains every name."""

    def __contains__(self, name: object) -> bool:
        return True


EVERYTHING: Final[Container[str]] = _Everything()
NOTHING: Final[Container[str]] = frozenset()
"""Names that are to wait (see Channel.settle)."""

_LONGEST_VERSION = 80
_FEW = 16
"""Entries up to which a dict is not worth replacing when they are gone: it keeps the room that it once needed."""


class Sent(Row, frozen=True, kw_only=True):
    """A response that went out, or the ACK of one. `at`: the time that was passed in."""

    version: str
    nonce: str
    at: float


class Nack(Row, frozen=True, kw_only=True):
    """The last NACK, as long as one of the resources it was about is still refused. `versions`: those of `names`."""

    version: str
    nonce: str
    at: float
    error: ErrorDetail
    names: tuple[str, ...]
    versions: tuple[str, ...] = ()


class ChannelStatus(Row, frozen=True, kw_only=True):
    """How one type stands. `subscribed`: how many names the client asked for by name. `pending`: how many names it is not up to date with,
    at least 1 while it waits for the answer to its asking for everything. `acked` is older than `sent` while the client has not answered,
    or refused."""

    type_url: str
    wildcard: bool
    subscribed: int
    sent: Sent | None
    acked: Sent | None
    nack: Nack | None
    pending: int


class InFlight(Row, frozen=True, kw_only=True):
    """The response that the client has not answered yet. `adds`: it holds resources that the client did not hold and did not ask for."""

    nonce: str
    response: Response
    at: float
    adds: bool


class Channel:
    """State is kept as exceptions from the table: of a name that is in none of them, the client was told what the table says.

    `dirty`: what the client holds of the names of which it may have to be told something. `waiting`: the same for names that are
    pending. `lingering`: dirty resources as the client holds them; responses still include those that are gone (see SotwStream). Of
    endpoints, those that went while the client waited for them: a cluster that it uses would be left without any. `absent`: of endpoints,
    the names that it asked for and was last told there is nothing of.
    `sweep`: not None from a wildcard's coming until the whole content is known, to be compared with what the client holds (this, by
    name); nothing is said meanwhile. `hint`: the version that the client said it holds. `owed`: an answer is due, even an empty one.
    `rejected`: versions that the client refused and still would, by name. `named`: it has ever named a resource. `heartbeats`: None
    where resources live for ever.
    """

    __slots__ = (
        "absent",
        "acked",
        "dirty",
        "heartbeats",
        "hint",
        "inflight",
        "lingering",
        "lingers",
        "nack",
        "named",
        "names",
        "owed",
        "rejected",
        "sent",
        "sweep",
        "table",
        "type_url",
        "waiting",
        "wildcard",
    )

    def __init__(self, type_url: str, table: Table, *, lingers: bool) -> None:
        self.type_url = type_url
        self.table = table
        self.lingers = lingers
        self.wildcard = False
        self.names: frozenset[str] = frozenset()
        self.named = False
        self.dirty: dict[str, Held] = {}
        self.waiting: dict[str, Held] = {}
        self.lingering: dict[str, Resource] = {}
        self.absent: frozenset[str] = frozenset()
        self.sweep: Mapping[str, str] | None = None
        self.hint = ""
        self.owed = False
        self.inflight: InFlight | None = None
        self.sent: Sent | None = None
        self.acked: Sent | None = None
        self.nack: Nack | None = None
        self.rejected: dict[str, str] = {}
        self.heartbeats: Heartbeats | None = None

    # -- what the client knows ----------------------------------------------------------------------------------------------------

    @property
    def ttl(self) -> float:
        """Seconds that the client keeps what it is sent; 0 for ever."""
        return 0.0 if self.heartbeats is None else self.heartbeats.ttl

    def covers(self, name: str) -> bool:
        return self.wildcard or name in self.names

    def ask(self, names: Iterable[str]) -> None:
        """The client is to get an answer about these."""
        for name in names:
            self._get(name)
            if self.heartbeats is not None:
                self.heartbeats.followed.pop(name, None)

    def follow(self, names: Iterable[str]) -> None:
        """The client is to get these once more, though it has not asked."""
        for name in names:
            if self.heartbeats is not None and (held := self._known(name)) != ASKED:
                self.heartbeats.followed[name] = held
            self._get(name)

    def _get(self, name: str) -> None:
        self.waiting.pop(name, None)
        self.lingering.pop(name, None)
        self.dirty[name] = ASKED

    def _known(self, name: str) -> Held:
        """What the client holds of a name, or will when it has read what is on its way."""
        if name in self.dirty:
            return self.dirty[name]
        if name in self.waiting:
            return self.waiting[name]
        if self.sweep is not None and name not in self.names:
            return self.sweep.get(name)
        answer = self.look_up(name)
        return answer.version if isinstance(answer, Resource) else None

    def held(self, name: str, version: str) -> None:
        """The client says that it holds this version of the name."""
        self.dirty[name] = version[:_LONGEST_VERSION]

    def on_its_way(self, names: frozenset[str]) -> bool:
        """Whether the client may come to hold one of these by the response that it has not answered yet."""
        return self.inflight is not None and any(resource.name in names for resource in self.inflight.response.resources)

    def narrow(self, wildcard: bool, names: frozenset[str]) -> None:
        """Subscribes to this from now on; whatever is known about other names is forgotten, as the client does."""
        self.wildcard = wildcard
        self.names = names
        if wildcard:
            return
        self.sweep = None
        self.owed = self.owed and bool(names)
        if self.heartbeats is not None:
            self.heartbeats.narrow(names)
        for known in (self.dirty, self.waiting, self.lingering, self.rejected):
            for name in [name for name in known if name not in names]:
                del known[name]
        self.absent &= names
        if not names:
            self.inflight = None  # a client may drop an answer to what it no longer wants without a word

    def change(self, changes: Sequence[Change]) -> None:
        """The table's content has changed."""
        for name, old, new, by_name in changes:
            if not (name in self.names or (self.wildcard and not by_name)):
                continue
            if name in self.dirty:
                if new is None and old is not None and self.type_url == EDS and self.dirty[name] == ASKED:
                    self.lingering[name] = old
                continue
            if name in self.waiting:
                self.dirty[name] = self.waiting.pop(name)
            elif (self.sweep is None or name in self.names) and (old is not None or new is not None):
                self.dirty[name] = None if old is None else old.version
                if self.lingers and old is not None:
                    self.lingering[name] = old
        if not self.waiting:
            self.waiting = {}

    def move(self, table: Table) -> None:
        """Stands at another table from now on; where the two differ, the client is to be told."""
        old, self.table = self.table, table
        if not old.ready:
            return
        everything = self.wildcard and self.sweep is None
        for name in {*old.names(), *table.names(), *self.names, *self.lingering} if everything else self.names:
            before, after = old.lookup(name), table.lookup(name)
            if name in self.waiting:
                self.dirty[name] = self.waiting.pop(name)
            if name not in self.dirty and before is not after:
                self.dirty[name] = before.version if isinstance(before, Resource) else None
                if self.lingers and isinstance(before, Resource):
                    self.lingering[name] = before

    def look_up(self, name: str) -> Answer:
        """What the client gets of this name, by its wildcard or by its naming it."""
        return self.table.lookup(name) if name in self.names or not self.wildcard else self.table.listed(name)

    def by_name(self, name: str) -> Answer:
        """What there is of a name that no wildcard covers; None for any other."""
        return self.table.lookup(name) if self.table.listed(name) is None else None

    # -- what it is to be told ----------------------------------------------------------------------------------------------------

    @property
    def due(self) -> bool:
        """Whether there may be something to say now."""
        return bool(self.inflight is None and (self.dirty or self.owed) and self.sweep is None and self.table.ready)

    @property
    def still(self) -> bool:
        """Whether the client knows what the table says, and has said so."""
        if self.inflight is not None or self.dirty or self.owed or self.sweep is not None:
            return False
        return not self.waiting or not any(self.waiting.values())

    @property
    def asked(self) -> bool:
        """Whether the client may be waiting for something that it asked for."""
        return self.inflight is not None or ASKED in self.dirty.values() or ASKED in self.waiting.values()

    def unsent_additions(self) -> bool:
        return None in self.dirty.values()

    def unsent_returns(self) -> bool:
        """Whether endpoints of which the client was told that there are none are there by now, and it doesn't know."""
        return bool(self.absent) and any(name in self.absent and isinstance(self.look_up(name), Resource) for name in self.dirty)

    def unsent_removals(self) -> bool:
        return any(held and self.table.lookup(name) is None for name, held in self.dirty.items())

    def compare(self, *, at_work: bool) -> None:
        """Makes the sweep, if one is due and all content is known. What the client holds nothing of counts as asked for, unless it has long
        been `at_work`, as who held something else has: then the new is a change to that."""
        if self.sweep is None or not self.table.complete:
            return
        held, self.sweep = self.sweep, None
        new = None if at_work or any(held.values()) else ASKED
        covered = frozenset(self.table.names())
        differing = covered.difference(held) | covered.intersection(self.table.differing(held))
        vanished = [name for name in held.keys() - covered if self.look_up(name) is None]
        for name in (*differing, *vanished):
            if name not in self.dirty:
                version = held.get(name)
                self.dirty[name] = new if version is None else version[:_LONGEST_VERSION]

    def settle(self, *, hold: Container[str], removals: bool, limit: int | None, largest: int | None) -> Batch:
        """Takes out of `dirty` what is to be said now; what is to be said later stays.

        `hold`: of these names, only what was asked for. `removals`: whether what vanished may be said to have; what was asked for always
        is. `limit`: bytes of the response, None for any; a single resource may be larger. `largest`: bytes of a resource that the client
        can take.
        """
        batch = Batch(limit, largest, None if self.heartbeats is None else {})
        before = len(self.dirty)
        for name in self._ordered():
            held = self.dirty[name]
            if held != ASKED and name in hold:
                continue
            answer = self._answer(name, held, removals)
            if isinstance(answer, Resource):
                if answer.version != held and not batch.put(answer, held):
                    break
            elif answer is PENDING:
                self.waiting[name] = held
            elif held is None:
                pass  # it came and went, and the client never knew
            elif isinstance(answer, Refused):
                batch.refused.append((name, answer))
            elif not removals and held != ASKED:
                continue
            elif not batch.remove(name, held):
                break
            self._said(name, answer)
        if before > _FEW:
            self.dirty = dict(self.dirty)
        if self.lingering:
            self.lingering = {name: resource for name, resource in self.lingering.items() if name in self.dirty}
        if self.heartbeats is not None and batch.before is not None:
            self.heartbeats.sends(batch.before, self.dirty, self.waiting)
        if self.type_url == EDS and (self.absent or batch.removed):
            self.absent = self.absent.difference(resource.name for resource in batch.resources) | self.names.intersection(batch.removed)
        return batch

    def _answer(self, name: str, held: Held, removals: bool) -> Answer:
        """What is to be said of a name: of endpoints that went while the client waited for them, what they were, as long as it may not be
        told that they are gone."""
        answer = self.look_up(name)
        return self.lingering.get(name) if answer is None and held == ASKED and not removals else answer

    def _said(self, name: str, answer: Answer) -> None:
        if isinstance(answer, Resource) and name in self.lingering and self.look_up(name) is None:
            self.dirty[name] = answer.version
        else:
            del self.dirty[name]

    def _ordered(self) -> list[str]:
        """What there is to say, by name; listeners that are gone come first, as others may take over their addresses."""
        names = sorted(self.dirty)
        if self.type_url == LDS:
            names.sort(key=lambda name: self.table.lookup(name) is not None)
        return names

    def everything(self) -> tuple[Resource, ...]:
        """All that is subscribed, and what lingers, sorted by name. It goes out: only of what lingers is there something left to say."""
        if self.wildcard:
            content: Sequence[Resource] = self.table.content()
            if besides := [answer for name in self.names if isinstance(answer := self.by_name(name), Resource)]:
                content = sorted((*content, *besides), key=lambda resource: resource.name)
        else:
            content = [answer for name in sorted(self.names) if isinstance(answer := self.table.lookup(name), Resource)]
        self.lingering = {name: resource for name, resource in self.lingering.items() if self.table.lookup(name) is None}
        self.dirty = {name: resource.version for name, resource in self.lingering.items()}
        if self.lingering:
            content = sorted((*content, *self.lingering.values()), key=lambda resource: resource.name)
        return content if isinstance(content, tuple) else tuple(content)

    # -- what it answered ---------------------------------------------------------------------------------------------------------

    def send(self, nonce: str, response: Response, now: float, *, adds: bool) -> None:
        """This goes out now."""
        self.inflight = InFlight(nonce=nonce, response=response, at=now, adds=adds)
        self.sent = Sent(version=response.version, nonce=nonce, at=now)
        if self.heartbeats is not None:
            self.heartbeats.sent(now)

    def answer(self, nonce: str, error: ErrorDetail | None, now: float) -> Acked | Nacked | Stale | None:
        """The client answers a response (None: a heartbeat, which it takes). Whether it is a NACK is told by the error alone, never by
        versions."""
        if self.heartbeats is not None and self.heartbeats.is_answer(nonce):
            return self.heartbeats.answer(nonce, error)
        if self.inflight is None or self.inflight.nonce != nonce:
            return Stale(self.type_url, nonce)
        response, nonce, self.inflight = self.inflight.response, self.inflight.nonce, None
        if error is None:
            self.acked = Sent(version=response.version, nonce=nonce, at=now)
            self._accepted(response)
            return Acked(self.type_url, response.version)
        names = suspects(response, error.text)
        refused = set(names)
        if self.heartbeats is not None:
            self.heartbeats.refused(response, names)
        versions = tuple(resource.version for resource in response.resources if resource.name in refused)
        self.rejected.update(zip(names, versions, strict=True))
        self.nack = Nack(version=response.version, nonce=nonce, at=now, error=error, names=names, versions=versions)
        return Nacked(self.type_url, response.version, names, error, versions)

    def _accepted(self, response: Response) -> None:
        if self.heartbeats is not None:
            self.heartbeats.accepted(response)
        if self.rejected:
            for resource in response.resources:
                self.rejected.pop(resource.name, None)
            for name in response.removed:
                self.rejected.pop(name, None)
        if not self.rejected:
            self.nack = None

    def refuses(self, name: str) -> bool:
        """Whether the client has refused what the table holds now."""
        answer = self.look_up(name)
        return isinstance(answer, Resource) and self.rejected.get(name) == answer.version

    def status(self) -> ChannelStatus:
        return ChannelStatus(
            type_url=self.type_url,
            wildcard=self.wildcard,
            subscribed=len(self.names),
            sent=self.sent,
            acked=self.acked,
            nack=self.nack,
            pending=len(self.dirty) + len(self.waiting) or int(self.owed or self.sweep is not None),
        )
