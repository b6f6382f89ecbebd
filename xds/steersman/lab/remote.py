"""Commands to a lab that runs in another process: HTTP over a socket file in the run's directory."""

from collections.abc import Awaitable, Callable
from typing import Self

import aiohttp
import msgspec
from aiohttp import web

from steersman.errors import SteersmanError
from steersman.lab.lab import Lab
from steersman.lab.run import Run
from steersman.lab.status import LabStatus

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


async def status_of(run: Run) -> LabStatus:
    """What a running lab says of itself. Raises SteersmanError while it has nothing to say, as before it is up."""
    return msgspec.json.decode(await _ask(run, "GET", "/status", {}), type=LabStatus)


async def tell(run: Run, verb: str, target: str, container: str | None) -> list[str]:
    """`verb`: stop or start. Returns what was meant by the target. Raises SteersmanError with the lab's own words."""
    query = {"target": target} | ({"container": container} if container is not None else {})
    return msgspec.json.decode(await _ask(run, "POST", f"/{verb}", query), type=list[str])


async def _ask(run: Run, method: str, path: str, query: dict[str, str]) -> bytes:
    connector = aiohttp.UnixConnector(path=str(run.socket))
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30)) as session:
        try:
            async with session.request(method, f"http://lab{path}", params=query) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as failed:
            raise SteersmanError(f"lab {run.id} does not answer ({failed}); is it still starting?") from failed
        if response.status != 200:
            raise SteersmanError(body.decode(errors="replace"))
        return body


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
