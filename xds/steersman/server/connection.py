"""The shell around one stream: it reads requests, writes responses, wakes when something changes or is overdue, and decides nothing.

requests --> stream --actions--> perform --> outbox --> writer --> client
changes, deadlines --> pump --'

The writer is a coroutine that is there only while there is something to write: an idle stream has one task, which reads.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol, assert_never

from steersman.admin.counters import Counters
from steersman.admin.state import ConnectionStatus
from steersman.ads import codec
from steersman.ads.delta import DeltaStream
from steersman.ads.line import Ticket
from steersman.ads.messages import Acked, Action, Close, Nacked, NodeChanged, Request, Send, Stale, Subscribed, Variant, Warms, Withheld
from steersman.ads.shared import Shared
from steersman.ads.sotw import SotwStream
from steersman.ads.told import TypeResources
from steersman.errors import ProtocolError
from steersman.model.limits import LIMITS, PATIENCE, Limits, Patience
from steersman.model.proxy import Proxy
from steersman.names import SDS, TYPE_NAMES
from steersman.server.door import Door
from steersman.server.eager import Eager
from steersman.server.services import ADS, Service
from steersman.snapshot.table import Change, Refused, RefusedTable, Table

log = logging.getLogger("steersman.xds")

_PERMISSION_DENIED: Final = 7
_NO_SECRETS: Final = RefusedTable(
    Refused(
        code=_PERMISSION_DENIED,
        text="private keys are not sent over plaintext to an address that is not loopback; set server.xds.insecureSecrets to allow it",
    )
)
_NONE: Final[Mapping[str, float]] = MappingProxyType({})
_IDS = itertools.count(1)
_MANY: Final = 200
"""Resources of a response that take some milliseconds."""
_LAST_WRITE: Final = 0.5
"""Seconds that a response gets to be written out before its stream ends: a status can't overtake it."""


_SHOWN: Final = 200
"""Characters shown of what a client calls itself."""


class Transport(Protocol):
    """One stream's bytes. `peer`: the client's address as gRPC writes it."""

    peer: str

    async def read(self) -> bytes | None:
        """The next message; None when the client has said all that it had to say."""

    async def write(self, message: bytes) -> None:
        """Returns when there is room for another: a client that doesn't read holds its writer here.

        Raises ConnectionError where the client is gone.
        """


class Standing(Protocol):
    """A stream's place in the mesh for as long as it lives."""

    @property
    def tables(self) -> Mapping[str, Table]:
        """By type URL; a type that is missing is not for this proxy."""

    def hold(self, type_url: str, names: frozenset[str] | None, named: frozenset[str]) -> None:
        """Needs exactly these names from now on (None: all that a wildcard covers, and `named`); what of them is pending arrives as
        changes."""

    def clusters_elsewhere(self) -> bool:
        """Whether the proxy takes its clusters over a stream of their own."""

    def warm(self, clusters: Sequence[str]) -> None:
        """The proxy was sent these clusters; its other streams are to be told (`Connection.warm`)."""

    def release(self) -> None:
        """The stream has ended."""


class Serving(Protocol):
    """What connections need of the server."""

    async def attach(self, proxy: Proxy, connection: "Connection") -> Standing:
        """Enters the proxy into the mesh; returns when the mesh is known and the proxy's tables are."""

    def refused(self, proxy: Proxy, peer: str, nacked: Nacked) -> None:
        """A client refused something; to be told, with what it was made from."""


class Connection:
    """One stream. The server tells it `changed` and `retabled` in the turn in which the tables moved, and then, when there is time for it
    to write, to `wake`; `warm` and `drain` at any time. `run` is its life."""

    def __init__(
        self,
        serving: Serving,
        transport: Transport,
        variant: Variant,
        counters: Counters,
        shared: Shared,
        *,
        door: Door,
        service: Service = ADS,
        secrets: bool,
        limits: Limits = LIMITS,
        patience: Patience = PATIENCE,
        ttls: Mapping[str, float] = _NONE,
    ) -> None:
        self.id = f"{next(_IDS):x}"
        self.peer = transport.peer
        self.ended = "CANCELLED"
        self._serving = serving
        self._transport = transport
        self._variant = variant
        self._counters = counters
        self._shared = shared
        self._door = door
        self._service = service
        self._secrets = secrets
        self._limits = limits
        self._patience = patience
        self._ttls = ttls
        self._connected = time.time()
        self._proxy = Proxy(id="")
        self._agent = ""
        self._ticket: Ticket | None = None
        self._standing: Standing | None = None
        self._stream: Any = None
        self._outbox: list[Send | Warms] = []
        self._told: list[tuple[str, Sequence[Change]]] = []
        self._moved = False
        self._writer: Eager | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._since: float | None = None
        self._task: asyncio.Task[Any] | None = None
        self._close: Close | None = None
        self._renamed = False

    # -- told by the server ---------------------------------------------------------------------------------------------------

    def changed(self, type_url: str, changes: Sequence[Change], since: float | None = None) -> None:
        """The table of that type has changed; `wake` follows before it changes again. `since`: wall clock seconds when the earliest fact
        behind it was seen.

        It is only noted: all streams are told in one step, and what a thousand changes are to each of them takes a millisecond.
        """
        if self._stream is None or not self._concerns(type_url):
            return  # not open yet, it opens at the tables as they are by then
        self._told.append((type_url, changes))
        self._since = since if self._since is None else min(self._since, since or self._since)
        self._moved = True

    def retabled(self, type_url: str, table: Table) -> None:
        """The proxy stands at another table from now on."""
        if self._stream is not None and self._concerns(type_url):
            self._informed().retable(type_url, table)
            self._moved = True

    def wake(self) -> None:
        """There is time to write what it was told of."""
        if self._moved:
            self._informed()  # though its client may hold it up: what it was told of is no queue
            self._write_now()

    def _informed(self) -> Any:
        """The stream, which knows all that the connection was told: nothing may be asked of one that does not."""
        if self._told:
            told, self._told = self._told, []
            for type_url, changes in told:
                self._stream.changed(type_url, changes)
        return self._stream

    def takes(self, type_url: str) -> bool:
        """Whether it is a stream of that type alone."""
        return self._service.type_url == type_url

    def warm(self, clusters: Sequence[str]) -> None:
        """The proxy was sent these clusters over another stream."""
        if self._stream is not None:
            self._informed().warm(clusters)
            self._moved = True
            self._write_now()

    def _concerns(self, type_url: str) -> bool:
        """Whether the stream has this type. Of secrets that it may not have it isn't told."""
        return self._service.type_url in ("", type_url) and (type_url != SDS or self._secrets)

    def drain(self) -> None:
        """Ends the stream: the client keeps what it has and finds another server, or this one again."""
        self._end(Close("UNAVAILABLE", "the server is going away; connect again"))

    @property
    def place(self) -> tuple[str, str]:
        """Where it stands among all, by proxy, then by its own id."""
        return self._proxy.id, self.id

    def status(self) -> ConnectionStatus:
        return ConnectionStatus(
            id=self.id,
            proxy=self._proxy,
            peer=self.peer,
            variant=self._variant,
            service=self._service.short,
            connected=self._connected,
            agent=self._agent,
            channels=self._informed().status() if self._stream is not None else (),
        )

    def resources(self) -> Sequence[TypeResources]:
        return self._informed().resources() if self._stream is not None else ()

    # -- running --------------------------------------------------------------------------------------------------------------

    async def run(self) -> Close | None:
        """Lives as long as the stream does. Returns the status with which it is to be ended; None: the client has ended it."""
        self._task = asyncio.current_task()
        try:
            raw = await first_request(self._transport, self._patience)
            if raw is None:
                self.ended = "OK"
                return None
            delta = self._variant is Variant.DELTA
            opening = codec.opening(self._variant, raw, self.peer)
            del raw  # an Envoy's first request takes 60 KB, and it may be long until there is another
            self._proxy, self._agent = opening.proxy, opening.agent
            self._ticket = await self._door.enter(self.peer, opening.proxy.id)
            self._standing = await self._serving.attach(opening.proxy, self)
            self._stream = self._opened(opening)
            self._answer(opening.request)
            self._door.joined(self._ticket)
            del opening
            while (raw := await self._transport.read()) is not None:
                self._answer(codec.delta_requested(raw) if delta else codec.requested(raw))
                del raw  # nothing of it is kept while there is no other
            await asyncio.sleep(0)  # where the client has cancelled, that is told right behind the end of its requests
            await self._finished()
            self.ended = "OK"
            return None
        except ProtocolError as error:
            self._close = Close(error.code, str(error))
            return await self._closed()
        except asyncio.CancelledError:
            if self._close is None or self._task is None:
                raise
            self._task.uncancel()
            return await self._closed()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._writer is not None:
                self._writer.cancel()
            if self._standing is not None:
                self._standing.release()
            if self._ticket is not None:
                self._door.leave(self._ticket)

    def _opened(self, opening: codec.Opening) -> Any:
        assert self._standing is not None
        tables = dict(self._standing.tables)
        if not self._secrets:
            tables[SDS] = _NO_SECRETS
        kind = DeltaStream if self._variant is Variant.DELTA else SotwStream
        return kind(
            tables,
            node_id=opening.request.node_id,
            nonces=f"{self.id}-",
            shared=self._shared,
            limits=self._limits,
            patience=self._patience,
            largest=opening.largest,
            only=self._service.type_url,
            elsewhere=self._standing.clusters_elsewhere,
            ttls=self._ttls if opening.mortal else _NONE,
        )

    async def _closed(self) -> Close | None:
        assert self._close is not None
        self.ended = self._close.code
        await self._finished()
        return self._close

    async def _finished(self) -> None:
        """Lets the writer end what it has begun, if the client reads."""
        if self._writer is not None:
            await self._writer.ended(_LAST_WRITE)

    def _answer(self, request: Request) -> None:
        self._perform(self._informed().receive(request, asyncio.get_running_loop().time()))
        if self._outbox:
            self._write_now()

    def _write_now(self) -> None:
        if self._writer is None and self._close is None:
            self._writer = Eager(self._write())
            self._writer.begin()

    async def _write(self) -> None:
        """Writes all that is due. If that fails, the client is gone or we have a bug."""
        try:
            await self._written()
        except ConnectionError as error:
            if self._close is None:
                log.info("stream %s of %s ended while it was written to: %s", self.id, self._proxy.id, error)
            self._end(Close("UNAVAILABLE", "the stream broke"))
        except Exception as error:  # noqa: BLE001 - what a bug costs is this stream
            if self._close is None:
                self._end(self.failed(error))
        finally:
            self._writer = None

    async def _written(self) -> None:
        """One response after the other; what changes while the client doesn't read waits in the tables."""
        while (self._moved or self._outbox) and self._close is None:
            since, self._since = self._since, None
            if self._moved:
                self._moved = False
                self._perform(self._informed().pump(asyncio.get_running_loop().time()))
            sent = bool(self._outbox)
            while self._outbox and self._close is None:
                due = self._outbox.pop(0)
                if isinstance(due, Send):
                    if len(due.response.resources) > _MANY:
                        await asyncio.sleep(0)  # to put such a response together takes as long again as to choose what is in it
                    await self._transport.write(codec.encode(due))
                elif self._standing is not None:
                    self._standing.warm(due.clusters)
            if sent and since is not None:
                self._counters.convergence.observe(max(0.0, time.time() - since))

    def failed(self, error: BaseException) -> Close:
        """A bug of ours costs this stream, and no other. The status for the client."""
        self._counters.internal_errors += 1
        self.ended = "INTERNAL"
        log.error("stream %s of %s failed by a bug; it is ended, the others go on", self.id, self._proxy.id, exc_info=error)
        return Close("INTERNAL", "a bug of the server ended this stream; its log says more")

    def _end(self, close: Close) -> None:
        if self._close is None:
            self._close = close
            if self._task is not None:
                self._task.cancel()

    def _overdue(self) -> None:
        """A deadline of the stream has come. A writer that is held by the client could not see to it."""
        self._timer = None
        self._perform(self._informed().pump(asyncio.get_running_loop().time()))
        if self._outbox:
            self._write_now()

    # -- actions --------------------------------------------------------------------------------------------------------------

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            self._act(action)
        deadline = self._stream.deadline()
        if deadline is not None and (self._timer is None or self._timer.when() > deadline):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(deadline, self._overdue)

    def _act(self, action: Action) -> None:
        counters = self._counters
        match action:
            case Acked():
                pass
            case Send() if action.response.heartbeat:
                counters.heartbeats[_short(action.response.type_url)] += 1
                self._outbox.append(action)
            case Send():
                short = _short(action.response.type_url)
                counters.pushes[short] += 1
                counters.pushed_resources[short] += len(action.response.resources)
                counters.pushed_bytes[short] += action.response.size
                self._outbox.append(action)
            case Warms():
                self._outbox.append(action)
            case Subscribed():
                assert self._standing is not None
                self._standing.hold(action.type_url, action.names, action.named)
            case Nacked():
                counters.rejects[_short(action.type_url)] += 1
                self._serving.refused(self._proxy, self.peer, action)
            case Stale():
                counters.expired_nonces[_short(action.type_url)] += 1
            case Withheld():
                log.error("%s %s has %d bytes, too many for %s, which is told of an error instead", *_named(action), self._proxy.id)
            case NodeChanged():
                if not self._renamed:
                    log.warning("%s calls itself %s in mid-stream: ignored, the first name holds", self._proxy.id, action.node_id[:_SHOWN])
                self._renamed = True
            case Close():
                self._end(action)
            case _:
                assert_never(action)


async def first_request(transport: Transport, patience: Patience) -> bytes | None:
    """Of a stream of any service; None: it ends without one. Raises ProtocolError where none comes: who says nothing could hold a stream
    for nothing, for ever."""
    try:
        async with asyncio.timeout(patience.ack):
            return await transport.read()
    except TimeoutError:
        raise ProtocolError("DEADLINE_EXCEEDED", f"no request within {patience.ack:g} s") from None


def _named(withheld: Withheld) -> tuple[str, str, int]:
    return _short(withheld.type_url), withheld.name, withheld.size


def _short(type_url: str) -> str:
    return TYPE_NAMES.get(type_url, type_url)
