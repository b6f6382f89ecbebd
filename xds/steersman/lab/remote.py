"""Where a running lab takes commands from other processes: HTTP over a socket file in the run's directory."""

from collections.abc import Awaitable, Callable
from typing import Self

import msgspec
from aiohttp import web

from steersman.errors import SteersmanError
from steersman.lab.lab import Lab

Answer = Callable[[web.Request], Awaitable[web.Response]]


class Remote:
    """The socket file's server."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        application = web.Application()
        application.router.add_get("/status", self._status)
        application.router.add_post("/stop", self._answering(lab.stop))
        application.router.add_post("/start", self._answering(lab.start))
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._lab.run.socket)).start()
        self._lab.run.socket.chmod(0o600)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _status(self, _: web.Request) -> web.Response:
        return _json(await self._lab.status())

    def _answering(self, act: Callable[[str, str | None], Awaitable[list[str]]]) -> Answer:
        async def answer(request: web.Request) -> web.Response:
            try:
                return _json(await act(request.query.get("target", ""), request.query.get("container")))
            except SteersmanError as wrong:
                return web.Response(status=400, text=str(wrong))

        return answer


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
