"""Stand-ins for Bookinfo's services, each a process of its own: `python -m steersman.lab.apps reviews --version v2`.

Each answers any GET with JSON: its own content, who it is, who its caller is by certificate (as its sidecar says), and below `calls` the
answers of the services that it asked in turn. They speak plain HTTP to the names they know, such as `http://reviews:9080/reviews/0`.
"""

import argparse
import asyncio
import os
import re
import signal
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp import web

Answer = dict[str, Any]

PORT = 9080
CALLS: dict[str, tuple[str, ...]] = {"productpage": ("details", "reviews"), "reviews": ("ratings",)}
"""Which services an app asks. reviews v1 asks none."""

CONTENT: dict[str, Answer] = {
    "productpage": {"title": "The Comedy of Errors"},
    "details": {"author": "William Shakespeare", "year": 1595, "type": "paperback", "pages": 200},
    "reviews": {"text": "Two pairs of twins, one mistaken for the other: a play about overlapping addresses."},
    "ratings": {"stars": [5, 4]},
    "inventory": {"copies": 7},
}
_STARS = {"v2": "black", "v3": "red"}


class Identity(dict[str, str]):
    """Who an app is, from the environment that the lab gives it, as a pod has it from the downward API."""

    @classmethod
    def of(cls, app: str, version: str, env: Mapping[str, str]) -> "Identity":
        told = {key: env.get(variable, "") for key, variable in (("pod", "POD_NAME"), ("cluster", "CLUSTER_ID"), ("zone", "ZONE"))}
        return cls(service=app, version=version, **told)


class App:
    """One service."""

    def __init__(self, app: str, version: str, env: Mapping[str, str]) -> None:
        self.identity = Identity.of(app, version, env)
        self._calls = CALLS.get(app, ()) if (app, version) != ("reviews", "v1") else ()
        self._content = {**CONTENT.get(app, {}), **({"color": _STARS[version]} if app == "reviews" and version in _STARS else {})}
        self._outbound = env.get("OUTBOUND_ADDRESS", "")  # where nothing is captured, this is how an app reaches its sidecar
        self._session: aiohttp.ClientSession | None = None

    async def serve(self, address: str, port: int) -> None:
        """Until SIGTERM or SIGINT."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        application = web.Application()
        application.router.add_get("/health", self._health)
        application.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as self._session:
            await runner.setup()
            await web.TCPSite(runner, address, port).start()
            print(f"{self.identity['service']} {self.identity['version']} listens on {address}:{port}", flush=True)
            await stop.wait()
            await runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="ready\n")

    async def _answer(self, request: web.Request) -> web.Response:
        answers = await asyncio.gather(*(self._call(service) for service in self._calls))
        answer: Answer = {**self.identity, "client": client_of(request.headers), **self._content}
        if answers:
            answer["calls"] = dict(zip(self._calls, answers, strict=True))
        return web.json_response(answer)

    async def _call(self, service: str) -> Answer:
        """The service's answer; where it has none, what came instead, so that a broken part leaves the rest of the page standing."""
        assert self._session is not None
        try:
            async with self._session.get(
                f"http://{self._outbound or service}:{PORT}/{service}/0", headers={"Host": f"{service}:{PORT}"}
            ) as response:
                if response.status == 200:
                    answer: Answer = await response.json()
                    return answer
                return {"error": f"{response.status} {(await response.text()).strip()}"}
        except (aiohttp.ClientError, TimeoutError) as failed:
            return {"error": f"{type(failed).__name__}: {failed}"}


def client_of(headers: Mapping[str, str]) -> str | None:
    """The SPIFFE id of the caller as the sidecar saw it on mTLS; None for a caller in plain text.

    The header is x-forwarded-client-cert, which a sidecar of the mesh overwrites: what stands last is from the nearest one.
    """
    found = re.findall(r'(?:^|[;,])\s*URI="?([^;,"]+)', headers.get("x-forwarded-client-cert", ""))
    return found[-1] if found else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("app", help="productpage, details, reviews, ratings, inventory, or any name")
    parser.add_argument("--version", default="v1")
    parser.add_argument("--address", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=PORT)
    arguments = parser.parse_args()
    asyncio.run(App(arguments.app, arguments.version, os.environ).serve(arguments.address, arguments.port))


if __name__ == "__main__":
    main()
