"""The task of one resource: does what its reflector wants, and gives what came of it to reflector and mirror."""

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime

from aiohttp import ClientResponse

from steersman.sources.contents import Steps
from steersman.sources.kube.api import Api, Broken, Unreachable
from steersman.sources.kube.mirror import Mirror
from steersman.sources.kube.pages import AT_ONCE, page_in_steps
from steersman.sources.kube.reflector import Change, Get, Pause, Reflector, Renew, Watch
from steersman.sources.kube.removals import RemovalGuard
from steersman.sources.kube.resources import Resource
from steersman.sources.kube.secrets import Secrets
from steersman.sources.kube.state import ResourceStatus
from steersman.sources.kube.timing import Timing
from steersman.sources.kube.wire import BadAnswer, Lines
from steersman.sources.pace import Pace

_LONGEST_RETRY_AFTER = 300.0
"""Seconds: a server may not put us off for longer at a time."""


class Follower:
    """One resource of one cluster. `heard`: the loop's time at which something came of it last. `mirror`: may hold what a warm file has, or
    a run before.

    `told` is called whenever the guard, through which all goes that the mirror tells, may have facts, or the resource stands otherwise.
    """

    def __init__(
        self,
        resource: Resource,
        mirror: Mirror | Secrets,
        *,
        timing: Timing,
        random: Callable[[], float],
        clock: Callable[[], float],
        pace: Pace,
        guard: RemovalGuard,
        told: Callable[["Follower"], None],
    ) -> None:
        self.resource = resource
        self.guard = guard
        self.reflector = Reflector(resource, timing, random, mirror.events())
        self.mirror = mirror
        self.remember()
        self.heard = -math.inf
        self._clock = clock
        self._pace = pace
        self._told = told
        self._reading: asyncio.Timeout | None = None
        self._silent_at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._interrupted = False
        self._retelling = False
        self._woken = asyncio.Event()

    def status(self) -> ResourceStatus:
        reflector = self.reflector
        return ResourceStatus(
            name=self.resource.name,
            namespace=self.resource.namespace,
            version=reflector.version,
            standing=reflector.standing,
            whole=self.mirror.whole,
            optional=self.resource.optional,
            objects=len(self.mirror),
            warm=self.mirror.warm if isinstance(self.mirror, Mirror) else 0,
            restored=isinstance(self.mirror, Mirror) and self.mirror.restored > 0,
            problem=reflector.problem,
        )

    def remember(self) -> None:
        """The mirror may hold what was restored."""
        if isinstance(self.mirror, Mirror) and self.mirror.restored:
            self.reflector.remember()

    # -- from other tasks -----------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """The server answers again."""
        self.reflector.wake(self._now())
        self._woken.set()

    def interrupt(self) -> None:
        """Gives up the watch that is open, if one is, and resumes it."""
        self._interrupted = True
        self._stop_reading()

    def resync(self) -> None:
        """Asks for everything again."""
        self.reflector.resync(self._now())
        self._woken.set()
        self.interrupt()

    # -- the task -------------------------------------------------------------------------------------------------------------

    async def run(self, api: Api) -> None:
        """For ever."""
        while True:
            match self.reflector.next(self._now()):
                case Pause(until):
                    await self._pause(until)
                case Renew():
                    await api.renew()
                    self.reflector.renewed(self._now())
                case Get() as get:
                    await self._get(api, get)
                case Watch() as watch:
                    await self._watch(api, watch)
            self._told(self)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _pause(self, until: float) -> None:
        self._woken.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._woken.wait()

    async def _get(self, api: Api, get: Get) -> None:
        try:
            async with api.request(get.path, get.query) as response:
                body = await api.body(response)
            whole = response.status == 200 and bool(self.reflector.version) and len(body) > AT_ONCE
            answer = await self._pace.run(page_in_steps(body)) if whole else body
        except Unreachable as error:
            self.reflector.unreachable(self._now(), str(error))
        except Broken as error:
            self.reflector.broken(self._now(), str(error))
        else:
            if response.status == 200:
                changes = self.reflector.answered(self._now(), answer)
                self.heard = self._now()
                await self._pace.run(self._taken(changes, self._clock()))
            else:
                self.reflector.refused(self._now(), response.status, body, retry_after(response, self._clock()))

    async def _watch(self, api: Api, watch: Watch) -> None:
        self._interrupted = False
        try:
            async with api.request(watch.path, watch.query) as response:
                if response.status == 200:
                    await self._follow(api, response)
                else:
                    body = await api.body(response)
                    self.reflector.refused(self._now(), response.status, body, retry_after(response, self._clock()))
        except Unreachable as error:
            self.reflector.unreachable(self._now(), str(error))
        except (Broken, BadAnswer) as error:
            if self.reflector.watching:
                self.reflector.ended(self._now(), str(error))
            else:
                self.reflector.broken(self._now(), str(error))
        finally:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    async def _follow(self, api: Api, response: ClientResponse) -> None:
        """Takes in what comes of an open watch until it is over."""
        reflector = self.reflector
        self.heard = self._now()
        await self._pace.run(self._taken(reflector.opened(self._now()), self._clock()))
        self._told(self)
        lines = Lines()
        while reflector.watching and not self._interrupted:
            data = await self._read(api, response)
            if data is None:
                break
            if not data:
                reflector.ended(self._now(), "it was cut off in the middle of an event" if lines.cut else "")
                break
            self.heard = self._now()
            await self._pace.run(self._taken(self._read_lines(lines.feed(data)), self._clock()), self._tell_so_far)
            self._told(self)
        if reflector.watching:
            if self._interrupted:
                reflector.interrupted(self._now())
            else:
                reflector.silent(self._now())

    def _tell_so_far(self) -> None:
        """Much may have come at once."""
        if self.mirror.in_parts:
            self._told(self)

    async def _read(self, api: Api, response: ClientResponse) -> bytes | None:
        """What came; None when it was silent for too long, or is given up."""
        self._silent_at = self._now() + self.reflector.patience
        if self._timer is None or self._timer.when() > self._silent_at:
            self._listen()
        try:
            async with asyncio.timeout(None) as self._reading:
                return await api.part(response)
        except TimeoutError:
            return None
        finally:
            self._reading = None

    def _listen(self) -> None:
        """One timer stands, and is set anew when it is over: to set one for each read and take it back takes as long as half a round of
        the loop."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(self._silent_at, self._listened)

    def _listened(self) -> None:
        self._timer = None
        if self._reading is not None and self._now() < self._silent_at:
            self._listen()
        else:
            self._stop_reading()  # unless nothing is read: then the next read sets the timer

    def _stop_reading(self) -> None:
        if self._reading is not None and not self._reading.expired():
            self._reading.reschedule(self._now())

    def _read_lines(self, lines: Iterable[bytes]) -> Iterator[Change]:
        """What the reflector makes of lines, of each when the one before has been taken in, until the watch is over."""
        now, reflector = self._now(), self.reflector
        for line in lines:
            change = reflector.line(now, line)
            if change is not None:
                yield change
            elif not reflector.watching:
                return

    def _taken(self, changes: Iterable[Change], seen: float) -> Steps[None]:
        """What the mirror makes of changes, in the guard's hands."""
        mirror, guard, kind = self.mirror, self.guard, self.resource.kind
        if kind is None or isinstance(mirror, Secrets):
            yield from mirror.take(changes, seen)
            return
        for _ in mirror.take(changes, seen):
            if facts := mirror.facts():
                guard.take(kind, facts, seen, mirror.gone)
            if mirror.retelling is not self._retelling:
                self._retelling = mirror.retelling
                if mirror.retelling:
                    guard.begin(kind, len(mirror))
                else:
                    yield from guard.complete(kind, len(mirror), seen)
            yield


def retry_after(response: ClientResponse, now: float) -> float:
    """Seconds of the header Retry-After, which holds them or a date; 0 where it is absent or nonsense. `now`: wall clock seconds."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), _LONGEST_RETRY_AFTER)
    try:
        return min(max(0.0, parsedate_to_datetime(text).timestamp() - now), _LONGEST_RETRY_AFTER)
    except (TypeError, ValueError, IndexError):
        return 0.0
