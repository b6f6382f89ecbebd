"""A small request every few seconds: whether the API answers, and whose it is."""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress

import msgspec

from steersman.sources.kube import wire
from steersman.sources.kube.api import IDENTITY, Api, Broken, Unreachable
from steersman.sources.kube.state import Pulse
from steersman.sources.kube.timing import Timing

_VERSION = "/version"
"""Who may not read a namespace may read this."""


class Heartbeat:
    """`heard`: the loop's time of the last one that came to something; `uid`: of the namespace kube-system, which stands for the cluster.

    `told` is called when `pulse` has changed; `returned` when the API answers after it did not, with the time since when it may have been
    away; `replaced` when it is another cluster's than before; `renewed` when other credentials are used from now on.
    """

    def __init__(
        self,
        timing: Timing,
        random: Callable[[], float],
        *,
        told: Callable[[], None],
        returned: Callable[[float], None],
        replaced: Callable[[str], None],
        renewed: Callable[[], None],
    ) -> None:
        self.pulse = Pulse.NONE
        self.problem = ""
        self.uid = ""
        self.heard = -math.inf
        self._timing = timing
        self._random = random
        self._told = told
        self._returned = returned
        self._replaced = replaced
        self._renewed = renewed
        self._path = IDENTITY
        self._failures = 0
        self._hurried = asyncio.Event()

    def hurry(self) -> None:
        """The next one is due now: there may be new credentials."""
        self._hurried.set()

    async def run(self, api: Api) -> None:
        """For ever."""
        while True:
            self._hurried.clear()
            renewed = await api.renew_if_changed()
            if renewed:
                self._path = IDENTITY  # these may be allowed to read it
            before = self.pulse
            await self._beat(api)
            if self.pulse is not before:
                self._told()
            if renewed:
                self._renewed()
            timing = self._timing
            wait = timing.heartbeat_failed if self._failures or api.untried else timing.heartbeat
            await self._sleep(wait * (0.75 + 0.5 * self._random()))

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurried.wait()

    async def _beat(self, api: Api) -> None:
        patience = self._timing.heartbeat_answer
        try:
            async with asyncio.timeout(patience), api.request(self._path) as response:
                body = await api.body(response)
        except TimeoutError:
            self._fail(Pulse.UNREACHABLE, f"no answer within {patience:g} s")
        except (Unreachable, Broken) as error:
            self._fail(Pulse.UNREACHABLE, str(error))
        else:
            await self._answered(api, response.status, body)

    async def _answered(self, api: Api, code: int, body: bytes) -> None:
        if code == 200:
            self._alive(body)
            return
        told = f"{code}: {wire.status(body).message}"
        if code == 401:
            self._fail(Pulse.UNAUTHORISED, told)
            await api.renew()
        elif code in (403, 404) and self._path == IDENTITY:
            self._path = _VERSION
            await self._beat(api)
        else:
            self._fail(Pulse.FAILING, told)

    def _alive(self, body: bytes) -> None:
        if self._path == IDENTITY:
            try:
                uid = wire.head(msgspec.Raw(body)).uid
            except wire.BadAnswer as error:
                self._fail(Pulse.FAILING, str(error))
                return
            before, self.uid = self.uid, uid
            if before and uid and before != uid:
                self._replaced(before)
        away = self._failures > 0
        since = self.heard
        self.pulse, self.problem, self._failures = Pulse.ALIVE, "", 0
        self.heard = asyncio.get_running_loop().time()
        if away:
            self._returned(since)

    def _fail(self, pulse: Pulse, problem: str) -> None:
        """One that fails after others came may be chance, or our own haste; the second is not."""
        self._failures += 1
        if self._failures > 1 or self.pulse is not Pulse.ALIVE:
            self.pulse, self.problem = pulse, problem
