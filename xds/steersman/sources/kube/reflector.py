"""The protocol of one resource: what to ask for next, and what an answer means. No I/O, no clock, no chance of its own.

    Discover --> WatchList --> Watching --.      410: from the start       404: Discover, or missing
                 or pages --'     ^-------'      401: Renew                else: Pause, then where it was

Whoever does the I/O asks `next`, does that one thing, and tells what came of it; times are seconds of any steady clock.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/, KEP-3157 (WatchList).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

import msgspec

from steersman.sources import shapes
from steersman.sources.kube import wire
from steersman.sources.kube.pages import Page, page
from steersman.sources.kube.resources import Resource
from steersman.sources.kube.timing import Timing

Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing until then."""

    until: float


@dataclass(frozen=True, slots=True)
class Renew:
    """Read the credentials again."""


@dataclass(frozen=True, slots=True)
class Get:
    """One answer: `answered` takes its body."""

    path: str
    query: Query = ()


@dataclass(frozen=True, slots=True)
class Watch:
    """An answer without end: `opened`, then `line` by line, then `ended`; `silent` when nothing came for `Reflector.patience` seconds."""

    path: str
    query: Query


Action = Pause | Renew | Get | Watch


class Begin(msgspec.Struct, frozen=True, gc=False):
    """All that there is comes now."""


class Put(msgspec.Struct, frozen=True, gc=False):
    """This object is so: its JSON, or what that was decoded to."""

    body: msgspec.Raw | shapes.Object


class Remove(msgspec.Struct, frozen=True, gc=False):
    """This object, as it was last, is gone."""

    head: wire.Head


class Complete(msgspec.Struct, frozen=True, gc=False):
    """That was all since Begin: what was not put is gone."""


Change = Begin | Put | Remove | Complete


class Standing(StrEnum):
    """How a resource stands. SYNCED: what is held is what the server has, or will have told in a moment. MISSING: the server has no such
    resource. FAILING: answers are errors, or broken. UNREACHABLE: there are none."""

    SYNCING = "syncing"
    SYNCED = "synced"
    MISSING = "missing"
    FORBIDDEN = "forbidden"
    UNAUTHORISED = "unauthorised"
    FAILING = "failing"
    UNREACHABLE = "unreachable"


_PAGE_BYTES = 2 << 20
"""What a page should hold: the first stage takes about 3 ms of it."""
_FIRST_LIMIT = 100
_LIMITS = (10, 2000)
_SNAPSHOTS = 2
"""How many times a list may lose its snapshot before it is asked for without pages."""
_ABSENCES = 2
"""How many times in a row a resource must not be there before what was held of it is gone."""
_LONG_LIFE = 10.0
"""Seconds after which a watch has done so well that what failed before it no longer counts."""


class Reflector:
    """One resource of one cluster. `random`: a number from 0 up to 1, each time another. `events`: reads its lines.

    `standing` and `problem` say how it is; `whole`: everything was told once; `version`: the one that is served, "" before that is known.
    """

    def __init__(self, resource: Resource, timing: Timing, random: Callable[[], float], events: wire.Events) -> None:
        self.resource = resource
        self.standing = Standing.SYNCING
        self.problem = ""
        self.whole = False
        self.version = "" if resource.discovered else resource.versions[0]
        self.watching = False
        self.failures = 0
        self._asked = False
        self._events = events
        self._known = False
        self._timing = timing
        self._random = random
        self._not_before = 0.0
        self._renew = False
        self._renewed = False
        # discovery
        self._candidates: tuple[str, ...] | None = None
        self._blind = False
        self._absences = 0
        # everything at first
        self._position = ""  # the resourceVersion to watch from; none: everything is to be told
        self._watch_list = True
        self._by_pages = False
        self._next_page = ""
        self._limit = _FIRST_LIMIT
        self._lost_snapshots = 0
        self._expiries = 0
        # the watch
        self._initial = False
        self._opened_at = 0.0
        self._silences = 0

    # -- what to do -----------------------------------------------------------------------------------------------------------

    def next(self, now: float) -> Action:
        """The one thing to do now."""
        if now < self._not_before:
            return Pause(self._not_before)
        if self._renew:
            return Renew()
        self._asked = True
        if not self.version:
            return Get(self.resource.root(self._candidates[0]) if self._candidates else "/apis")
        path = self.resource.path(self.version)
        if self._position:
            return Watch(path, self._watch_query(("resourceVersion", self._position)))
        if self._watch_list and not self._by_pages:
            initial = (("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan"))
            return Watch(path, self._watch_query(*initial))
        return Get(path, self._page_query())

    @property
    def patience(self) -> float:
        """Seconds for which the watch that is open may be silent."""
        return self._timing.first_silence if self._initial else self._timing.silence

    def _watch_query(self, *of: tuple[str, str]) -> Query:
        least, most = self._timing.watch
        seconds = least + int(self._random() * (most - least + 1))
        return ("watch", "true"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", str(seconds)), *self.resource.selected, *of

    def _page_query(self) -> Query:
        query: Query = () if self._lost_snapshots > _SNAPSHOTS else (("limit", str(self._limit)),)
        query = (*query, *self.resource.selected)
        return (*query, ("continue", self._next_page)) if self._next_page else query

    # -- what came of it ------------------------------------------------------------------------------------------------------

    def answered(self, now: float, body: bytes | Page) -> Iterable[Change]:
        """The whole body of a Get that was granted, or the page that it is. Of one asked for before a `resync`, nothing is taken."""
        if not self._asked:
            return ()
        self._granted()
        try:
            if isinstance(body, Page):
                return self._paged(body)
            return self._paged(page(body)) if self.version else self._discovered(now, body)
        except wire.BadAnswer as error:
            self._fail(now, Standing.FAILING, self._words(error))
            return ()

    def _paged(self, page: Page) -> Iterable[Change]:
        if not page.metadata.resource_version:
            raise wire.BadAnswer("a list without metadata.resourceVersion")
        begin: tuple[Change, ...] = () if self._next_page else (Begin(),)
        end: tuple[Change, ...] = ()
        self._next_page = page.metadata.next or ""
        if page.items:
            least, most = _LIMITS
            self._limit = min(most, max(least, len(page.items) * _PAGE_BYTES // page.size))
        if not self._next_page:
            self._position = page.metadata.resource_version
            self._told_all()
            end = (Complete(),)
        return chain(begin, map(Put, page.items), end)

    def _told_all(self) -> None:
        self.whole = True
        self._by_pages = False
        self._lost_snapshots = 0
        self._silences = 0
        self._stand(Standing.SYNCED)

    def opened(self, now: float) -> list[Change]:
        """A Watch was granted; its lines follow."""
        if not self._asked:
            return []
        self._granted()
        self.watching, self._opened_at = True, now
        self._initial = not self._position
        self._stand(Standing.SYNCING if self._initial else Standing.SYNCED)
        return [Begin()] if self._initial else []

    def line(self, now: float, line: bytes) -> Change | None:
        """A line of a watch. Afterwards the watch may be over (`watching`): then what else comes of it is of no use."""
        if not self.watching:
            return None
        self._silences = 0
        try:
            event = self._events.read(line)
        except wire.BadAnswer as error:
            self.ended(now, self._words(error))
            return None
        if event.type == "ERROR":
            assert isinstance(event.object, msgspec.Raw)
            self._over(now)
            self._refused(now, wire.status(event.object), 0.0)
            return None
        return self._event(event)

    def _event(self, event: wire.Event) -> Change | None:
        head = event.head
        if not self._initial:
            self._position = head.resource_version
        match event.type:
            case "ADDED" | "MODIFIED":
                return Put(event.object)
            case "DELETED":
                return Remove(head)
            case "BOOKMARK" if self._initial and head.initial_events_end:
                self._initial = False
                self._position = head.resource_version
                self._told_all()
                return Complete()
        return None

    def ended(self, now: float, why: str = "") -> None:
        """A watch that was opened is over. `why`: what broke it; nothing where the server ended it in order."""
        lived = self._over(now)
        if self._initial:
            self._by_pages = True
            self._fail(now, Standing.FAILING, why or "the watch ended before it had told everything")
        elif why or lived < self._timing.short:
            self._fail(now, Standing.FAILING, why or "the watch was ended as soon as it began")

    def _over(self, now: float) -> float:
        """How long the watch lasted, in seconds. One that did well makes good what failed before it."""
        self.watching = False
        lived = now - self._opened_at
        if lived >= _LONG_LIFE:
            self.failures = self._expiries = 0
        return lived

    def silent(self, now: float) -> None:
        """Nothing came of an open watch for as long as it may be silent; it was given up."""
        if self._initial:
            self.ended(now, f"nothing came of the watch for {self._timing.first_silence:g} s, and not everything was told")
            return
        self._over(now)
        self._silences += 1
        if self._silences > 1:  # where this resourceVersion lies in a future that is no more, a watch waits for it, silently
            self._silences = 0
            self.resync(now)

    def interrupted(self, now: float) -> None:
        """The watch was given up for another reason, such as that the server was away meanwhile; it is resumed."""
        self.watching = False

    def refused(self, now: float, code: int, body: bytes, retry_after: float = 0.0) -> None:
        """A Get or a Watch got another HTTP status than 200. `retry_after`: seconds, of that header."""
        if not self._asked:
            return
        status = wire.status(body)
        if status.code != code:
            status = wire.Status(code, status.message, status.retry_after, status.cause)
        self._refused(now, status, retry_after)

    def _refused(self, now: float, status: wire.Status, retry_after: float) -> None:
        initial_watch = bool(self.version) and not self._position and self._watch_list and not self._by_pages
        told = f"{status.code}: {status.message}" if status.message else str(status.code)
        match status.code:
            case 410:
                self._expired(now, told)
            case 401:
                again = self._renewed
                self._renew = self._renewed = True
                if again:
                    self._fail(now, Standing.UNAUTHORISED, told)
            case 400 | 422 if initial_watch:
                self._watch_list = False
            case 404:
                self._not_found(now, told)
            case 403 if self.version:
                self._fail(now, Standing.FORBIDDEN, told, at_most=self._timing.missing)
            case 403:  # discovery itself: the versions are tried one after the other
                self._grope()
            case _:
                if status.cause == "ResourceVersionTooLarge":
                    self._start_over()
                elif status.code == 400 and self._next_page:
                    self._start_over(keep_way=True)
                self._fail(now, Standing.FAILING, told, max(status.retry_after, retry_after))

    def _expired(self, now: float, told: str) -> None:
        """What we know is too old to be gone on from. At once the first time; whoever says so again and again is waited for."""
        if self._next_page:
            self._lost_snapshots += 1
            self._by_pages = True
        self._start_over(keep_way=bool(self._next_page))
        self._expiries += 1
        if self._expiries > 1:
            self._fail(now, Standing.FAILING, told)
        else:
            self._stand(Standing.SYNCING)

    def _start_over(self, *, keep_way: bool = False) -> None:
        self._position = self._next_page = ""
        self._by_pages = self._by_pages and keep_way

    def unreachable(self, now: float, why: str) -> None:
        """A Get or a Watch got no answer."""
        self._fail(now, Standing.UNREACHABLE, why)

    def broken(self, now: float, why: str) -> None:
        """The answer of a Get broke off."""
        self._fail(now, Standing.FAILING, why)

    def renewed(self, now: float) -> None:
        """The credentials were read again, as far as they could be."""
        self._renew = False

    def resync(self, now: float) -> None:
        """Everything is to be told again, as soon as may be."""
        self._start_over()
        self.watching = self._asked = False
        self._not_before = min(self._not_before, now)

    def remember(self) -> None:
        """There were such objects, before we began."""
        self._known = True

    def wake(self, now: float) -> None:
        """The server answers again after it did not: no need to wait any longer, within a breath of each other, and what failed meanwhile
        no longer counts: the next failure is a first one."""
        if self.standing in (Standing.UNREACHABLE, Standing.FAILING, Standing.UNAUTHORISED):
            self.failures = 0
            self._not_before = min(self._not_before, now + self._random() * self._timing.backoff_first)

    # -- which version is served ----------------------------------------------------------------------------------------------

    def _discovered(self, now: float, body: bytes) -> list[Change]:
        resource = self.resource
        if not self._candidates:
            served = wire.versions(body, resource.group)
            self._candidates = tuple(version for version in resource.versions if version in served)
        elif wire.serves(body, resource.plural):
            self._found(self._candidates[0])
            return []
        else:
            self._candidates = self._candidates[1:]
        return [] if self._candidates else self._gone(now)

    def _gone(self, now: float) -> list[Change]:
        """The server said in whole answers that it has no such resource: then it has no such objects either. Where there were some, it
        has to say so twice: a server that has just started may not know all that it serves."""
        self.failures = 0
        self._absences += 1
        self._candidates = None
        self._stand(Standing.MISSING, f"it is served in none of the versions {', '.join(self.resource.versions)}")
        self._not_before = now + self._timing.missing * (0.75 + 0.5 * self._random())
        if (self.whole or self._known) and self._absences < _ABSENCES:
            return []
        self.whole = True
        return [Begin(), Complete()]

    def _found(self, version: str) -> None:
        self.version = version
        self._absences = 0
        self._candidates = None
        self._start_over()
        self._stand(Standing.SYNCING)

    def _grope(self) -> None:
        """Discovery isn't allowed: the versions are tried as if all were served."""
        self._blind = True
        self._candidates = None
        self._found(self.resource.versions[0])

    def _not_found(self, now: float, told: str) -> None:
        resource = self.resource
        if not resource.discovered:
            self._fail(now, Standing.MISSING, told)
        elif not self.version:  # of discovery: what the group named a moment ago is not there, or `/apis` isn't
            self._candidates = self._candidates[1:] if self._candidates else None
            if not self._candidates:
                self._candidates = None
                self._fail(now, Standing.MISSING, told)
        else:
            following = dict(zip(resource.versions, resource.versions[1:], strict=False)).get(self.version, "")
            self._start_over()
            self.version = following if self._blind else ""
            if (self._blind and not following) or self.standing is not Standing.SYNCED:
                self._fail(now, Standing.MISSING, told, at_most=self._timing.missing)
            else:
                self._stand(Standing.SYNCING)

    # -- how it stands --------------------------------------------------------------------------------------------------------

    def _words(self, error: wire.BadAnswer) -> str:
        """What may be said of it: it repeats the beginning of what came."""
        return "an answer that can't be read" if self.resource.private else str(error)

    def _granted(self) -> None:
        self._renewed = False

    def _stand(self, standing: Standing, problem: str = "") -> None:
        self.standing, self.problem = standing, problem

    def _fail(self, now: float, standing: Standing, problem: str, at_least: float = 0.0, *, at_most: float = float("inf")) -> None:
        """The next try waits: twice as long each time, half of it chance, never less than the server asked for."""
        timing = self._timing
        self._stand(standing, problem)
        wait = min(timing.backoff_last, at_most, timing.backoff_first * 2 ** min(self.failures, 30))
        self.failures += 1
        self._not_before = now + max(at_least, wait * (0.5 + 0.5 * self._random()))
