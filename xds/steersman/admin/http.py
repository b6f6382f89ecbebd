"""The admin address: readiness, metrics, and under /debug/ the messages of the Inspect service as JSON."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from google.protobuf.message import Message

from steersman.admin import answers
from steersman.admin.clusters import clusters
from steersman.admin.metrics import Metrics
from steersman.admin.page import index_page
from steersman.admin.protojson import as_dict
from steersman.admin.selection import NotFound, Unclear
from steersman.admin.state import ServerState
from steersman.errors import ConfigError
from steersman.graph import ComputeFailed

log = logging.getLogger("steersman.admin")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

READ_THE_INDEX = "/debug/ lists what there is"


class _Site:
    """The pages of one server."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._metrics = Metrics(state)

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._errors])
        application.router.add_get("/", self.index)
        application.router.add_get("/ready", self.ready)
        application.router.add_get("/live", self.live)
        application.router.add_get("/metrics", self.metrics)
        application.router.add_get("/debug", self.index)
        application.router.add_get("/debug/", self.index)
        application.router.add_get("/debug/proxies", self.proxies)
        application.router.add_get("/debug/config_dump", self.config_dump)
        application.router.add_get("/debug/explain", self.explain)
        application.router.add_get("/debug/findings", self.findings)
        application.router.add_get("/debug/sources", self.sources)
        application.router.add_get("/debug/clusters", self.clusters)
        return application

    async def ready(self, request: web.Request) -> web.Response:
        """200 when the server is ready; 503, and why not, line by line."""
        reasons = self._state.not_ready()
        return web.Response(status=503 if reasons else 200, text="".join(f"{line}\n" for line in reasons or ("ready",)))

    async def live(self, request: web.Request) -> web.Response:
        """200 as long as the event loop goes round. Nothing else that may be wrong would be mended by a restart."""
        return web.Response(text="live\n")

    async def metrics(self, request: web.Request) -> web.Response:
        body, content_type = await self._metrics.scrape(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def index(self, request: web.Request) -> web.Response:
        page = index_page(answers.server(self._state), await answers.proxies(self._state, ""))
        policy = "default-src 'none'; style-src 'unsafe-inline'"
        return web.Response(text=page, content_type="text/html", headers={"Content-Security-Policy": policy})

    async def proxies(self, request: web.Request) -> web.Response:
        query = _query(request, optional=("proxy",))
        return await _json(await answers.proxies(self._state, query.get("proxy", "")))

    async def config_dump(self, request: web.Request) -> web.Response:
        query = _query(request, required=("proxy",), optional=("type",))
        types = [part for part in query.get("type", "").split(",") if part]
        return await _json(await answers.proxy_config(self._state, query["proxy"], types))

    async def explain(self, request: web.Request) -> web.Response:
        query = _query(request, required=("proxy", "service"))
        return await _json(await answers.explanation(self._state, query["proxy"], query["service"]))

    async def findings(self, request: web.Request) -> web.Response:
        _query(request)
        return await _json(await answers.findings(self._state))

    async def sources(self, request: web.Request) -> web.Response:
        _query(request)
        return await _json(answers.server(self._state))

    async def clusters(self, request: web.Request) -> web.Response:
        _query(request)
        return await _json(clusters(self._state.sources()))

    @web.middleware
    async def _errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every error as JSON, with its cause and what to do about it."""
        try:
            return await handler(request)
        except NotFound as error:
            return _error(404, str(error), "/debug/proxies lists the connected proxies")
        except Unclear as error:
            return _error(400, str(error), READ_THE_INDEX)
        except web.HTTPException as error:
            return _error(error.status, f"{request.method} {request.path}: {error.reason}", READ_THE_INDEX)
        except ComputeFailed as error:
            return _error(500, f"a value could not be computed: {error}", "this is a bug in Steersman; please report it")
        except Exception as error:  # this is where the radius of one request ends: it is counted, logged and answered
            self._state.counters.internal_errors += 1
            log.exception("%s %s failed", request.method, request.path)
            return _error(500, f"{type(error).__name__}: {error}", "this is a bug in Steersman; please report it, with the server's log")


def _query(request: web.Request, *, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()) -> dict[str, str]:
    """The query's parameters. Raises Unclear for one that is unknown, missing, empty or there twice."""
    form = f"{request.path}?{'&'.join(f'{name}=...' for name in required)}" if required else request.path
    query: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in required + optional:
            raise Unclear(f"no parameter is called {name!r} here; expected {', '.join(required + optional) or 'none'}")
        if name in query:
            raise Unclear(f"the parameter {name!r} stands twice")
        query[name] = value
    for name in required:
        if not query.get(name):
            raise Unclear(f"the parameter {name!r} is missing: {form}")
    return query


async def _json(message: Message) -> web.Response:
    """A large mesh's configuration takes long to print: that is done beside the event loop."""
    text = await asyncio.to_thread(lambda: json.dumps(as_dict(message), indent=2, ensure_ascii=False))
    return web.Response(text=text + "\n", content_type="application/json")


def _error(status: int, cause: str, remedy: str) -> web.Response:
    body: dict[str, Any] = {"error": {"cause": cause, "remedy": remedy}}
    return web.Response(status=status, text=json.dumps(body, indent=2, ensure_ascii=False) + "\n", content_type="application/json")


async def serve_http(state: ServerState, host: str, port: int) -> tuple[web.AppRunner, int]:
    """The pages on this address (port 0: any free one), started, and the port they have. Ended by the runner's `cleanup`.

    Raises ConfigError where the address can't be had.
    """
    runner = web.AppRunner(_Site(state).application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError("server.admin", "address", f"{host}:{port}", f"a free address of this machine ({error.strerror})") from error
    bound: int = runner.addresses[0][1]
    return runner, bound
