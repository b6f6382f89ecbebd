"""The shell around one stream of load reports: who it is from, one answer that says what to report and how often, then the reports."""

import asyncio
import logging
from typing import Any, Final

from envoy.service.load_stats.v3 import lrs_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from steersman.admin.counters import Counters
from steersman.admin.loads import Loads
from steersman.ads.codec import introduced
from steersman.ads.messages import Close
from steersman.errors import ProtocolError
from steersman.model.limits import PATIENCE, Patience
from steersman.server.connection import Transport, first_request
from steersman.server.door import Door

log = logging.getLogger("steersman.xds")

SERVICE: Final = "envoy.service.load_stats.v3.LoadReportingService"
METHOD: Final = "StreamLoadStats"

_NODE: Final = 0x0A
"""The tag of LoadStatsRequest.node, which is first where messages are written in order."""


def answer(interval: float) -> bytes:
    """The one response of a stream: report all clusters, once in so many seconds."""
    every = Duration()
    every.FromNanoseconds(round(interval * 1e9))
    return bytes(lrs_pb2.LoadStatsResponse(send_all_clusters=True, load_reporting_interval=every).SerializeToString())


class LoadReporting:
    """One stream. `run` is its life."""

    def __init__(
        self, transport: Transport, loads: Loads, counters: Counters, *, response: bytes, door: Door, patience: Patience = PATIENCE
    ) -> None:
        self.ended = "CANCELLED"
        self._transport = transport
        self._loads = loads
        self._counters = counters
        self._response = response
        self._door = door
        self._patience = patience
        self._proxy = ""
        self._task: asyncio.Task[Any] | None = None
        self._close: Close | None = None

    def drain(self) -> None:
        """Ends the stream."""
        if self._close is None:
            self._close = Close("UNAVAILABLE", "the server is going away; connect again")
            if self._task is not None:
                self._task.cancel()

    async def run(self) -> Close | None:
        """Lives as long as the stream does. Returns the status with which it is to be ended; None: the client has ended it."""
        self._task = asyncio.current_task()
        try:
            await self._report()
            self.ended = "OK"
            return None
        except ProtocolError as error:
            self._close = Close(error.code, str(error))
        except ConnectionError:
            self._close = Close("UNAVAILABLE", "the stream broke")
        except asyncio.CancelledError:
            if self._close is None or self._task is None:
                raise
            self._task.uncancel()
        self.ended = self._close.code
        return self._close

    async def _report(self) -> None:
        raw = await first_request(self._transport, self._patience)
        if raw is None:
            return
        request = _parsed(raw)
        self._proxy = introduced(request, self._transport.peer)[0].id
        first = list(request.cluster_stats)
        del raw, request
        ticket = await self._door.enter(self._transport.peer, self._proxy)
        try:
            self._door.joined(ticket)
            await self._take_all(first)
        finally:
            self._door.leave(ticket)

    async def _take_all(self, first: list[Any]) -> None:
        """`first`: what was reported before anything was asked for; emptied, since it holds the whole request."""
        loop = asyncio.get_running_loop()
        reporter = self._loads.join(self._proxy, loop.time())
        try:
            if first:
                reporter.take(first, loop.time())
                first.clear()
            await self._transport.write(self._response)
            while (raw := await self._transport.read()) is not None:
                reporter.take(_parsed(_without_node(raw)).cluster_stats, loop.time())
                del raw
        finally:
            reporter.leave()

    def failed(self, error: BaseException) -> Close:
        """A bug of ours costs this stream, and no other. The status for the client."""
        self._counters.internal_errors += 1
        self.ended = "INTERNAL"
        log.error("the load reports of %s failed by a bug; their stream is ended, the others go on", self._proxy, exc_info=error)
        return Close("INTERNAL", "a bug of the server ended this stream; its log says more")


def _parsed(raw: bytes) -> Any:
    try:
        return lrs_pb2.LoadStatsRequest.FromString(raw)
    except DecodeError as error:
        raise ProtocolError("INVALID_ARGUMENT", f"{len(raw)} bytes that are no LoadStatsRequest: {error}") from error


def _without_node(raw: bytes) -> bytes:
    """The request from behind its node, 61 KB of which Envoy repeats in every report."""
    if not raw or raw[0] != _NODE:
        return raw
    size, shift = 0, 0
    for at in range(1, min(len(raw), 11)):
        size |= (raw[at] & 0x7F) << shift
        shift += 7
        if raw[at] < 0x80:
            return raw[at + 1 + size :] if at + 1 + size <= len(raw) else raw
    return raw
