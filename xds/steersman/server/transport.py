"""gRPC under the streams: bytes in, bytes out, a status at the end. What is above this seam would run on another transport as well."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address
from typing import Any, Final, NoReturn, Protocol

import grpc
import msgspec

from steersman.admin.counters import Counters
from steersman.admin.loads import Loads
from steersman.ads.messages import Close, Variant
from steersman.ads.shared import Shared
from steersman.errors import ConfigError
from steersman.model.limits import PATIENCE
from steersman.server import load_reporting
from steersman.server.connection import Connection, Serving
from steersman.server.door import Door
from steersman.server.services import SERVICES, Service
from steersman.settings import XDSSettings

log = logging.getLogger("steersman.xds")

OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # two servers would share the address by chance
    ("grpc.server.max_pending_requests", 100_000),  # else streams past about a thousand at once are refused
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),  # clients may ping as often as this
    ("grpc.http2.max_ping_strikes", 0),
    # No probing for the bandwidth of a connection, which sends a ping for each ACK: 15 to 30 % of all that a push costs. In its place
    # a window that takes an Envoy's first request at once, and a large one soon.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 256 * 1024),
    # gRPC reads in blocks of 8 KB instead of 64: it would keep one of those for each connection that has ever said much, as an Envoy does
    # at first, until it has been read to its end.
    ("grpc.experimental.tcp_max_read_buffer_size", 8 * 1024),
)
_STATUS: Final = {code.name: code for code in grpc.StatusCode}


class GrpcTransport:
    """A stream of grpc.aio."""

    __slots__ = ("_context", "_held", "peer")

    def __init__(self, context: Any) -> None:
        self._context = context
        self._held = False
        self.peer: str = context.peer()

    async def read(self) -> bytes | None:
        message = await self._context.read()
        return None if message is grpc.aio.EOF else message

    async def write(self, message: bytes) -> None:
        self._held = True
        try:
            await self._context.write(message)
        except (grpc.aio.BaseError, asyncio.InvalidStateError) as error:
            raise ConnectionError(str(error)) from error
        self._held = False

    async def end(self, code: grpc.StatusCode, text: str) -> None:
        """Ends the call with this status. Always raises.

        Where the client holds a message up, no status gets past that, and gRPC would log a traceback over trying: the call is left to
        end with its connection.
        """
        if self._held:
            raise asyncio.CancelledError
        await self._context.abort(code, text)


class Served(Protocol):
    """A stream of any service. `ended`: the gRPC status that it ended with."""

    ended: str

    async def run(self) -> Close | None:
        """Lives as long as the stream does. Returns the status with which it is to be ended; None: the client has ended it."""

    def failed(self, error: BaseException) -> Close:
        """A bug of ours has cost the stream."""

    def drain(self) -> None:
        """Ends it."""


class XDSServer:
    """The xDS address: accepts streams from `start` on, until `stop`. `door`: where they come in."""

    def __init__(self, serving: Serving, settings: XDSSettings, counters: Counters, loads: Loads) -> None:
        self._serving = serving
        self._loads = loads
        self._settings = settings
        self._counters = counters
        self._patience = msgspec.structs.replace(PATIENCE, ack=settings.ack_deadline)
        self._shared = Shared()
        self.door = Door(settings.limits, counters)
        self._streams: dict[Served, None] = {}
        self._server: Any = None
        self._draining = False
        self._secrets = settings.insecure_secrets or _is_loopback(settings.address.host)

    async def start(self) -> int:
        """The port it has. Raises ConfigError where the address can't be had."""
        options = (*OPTIONS, ("grpc.max_receive_message_length", self._settings.limits.message_size))
        self._server = grpc.aio.server(options=options, maximum_concurrent_rpcs=None)
        self._server.add_generic_rpc_handlers((*(self._handler(service) for service in SERVICES), self._load_handler()))
        address = self._settings.address
        try:
            port: int = self._server.add_insecure_port(str(address))
        except RuntimeError as error:
            raise ConfigError("server.xds", "address", str(address), "an address of this machine that is free") from error
        await self._server.start()
        return port

    async def drain(self, seconds: float) -> None:
        """Ends the streams one after the other, spread over at most so long, the oldest first; new ones are refused."""
        self._draining = True
        streams = list(self._streams)
        pause = min(seconds / (len(streams) + 1), 0.005)
        for stream in streams:
            stream.drain()
            await asyncio.sleep(pause)

    async def stop(self) -> None:
        """Ends what is left."""
        if self._server is not None:
            await self._server.stop(grace=1.0)

    def _handler(self, service: Service) -> grpc.GenericRpcHandler:
        methods: dict[str, Any] = {
            service.streamed(variant): grpc.stream_stream_rpc_method_handler(self._method(service, variant)) for variant in Variant
        }
        if service.fetched:
            methods[service.fetched] = grpc.unary_unary_rpc_method_handler(self._unserved(service))
        return grpc.method_handlers_generic_handler(service.name, methods)

    def _load_handler(self) -> grpc.GenericRpcHandler:
        response = load_reporting.answer(self._settings.load_reporting_interval)

        def opened(transport: GrpcTransport) -> Served:
            return load_reporting.LoadReporting(
                transport, self._loads, self._counters, response=response, door=self.door, patience=self._patience
            )

        methods: dict[str, Any] = {load_reporting.METHOD: grpc.stream_stream_rpc_method_handler(self._streaming("lrs", opened))}
        return grpc.method_handlers_generic_handler(load_reporting.SERVICE, methods)

    def _unserved(self, service: Service) -> Callable[[bytes, Any], Awaitable[NoReturn]]:
        streamed = " or ".join(service.streamed(variant) for variant in Variant)
        text = f"{service.fetched} is not served, as a single answer can tell of no change; open a stream: {streamed}"

        async def method(request: bytes, context: Any) -> NoReturn:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, text)
            raise AssertionError("abort raises")

        return method

    def _method(self, service: Service, variant: Variant) -> Callable[[AsyncIterator[bytes], Any], Awaitable[None]]:
        def opened(transport: GrpcTransport) -> Served:
            return Connection(
                self._serving,
                transport,
                variant,
                self._counters,
                self._shared,
                door=self.door,
                service=service,
                secrets=self._secrets,
                limits=self._settings.limits,
                patience=self._patience,
                ttls=self._settings.ttls,
            )

        return self._streaming(variant, opened)

    def _streaming(
        self, protocol: str, opened: Callable[[GrpcTransport], Served]
    ) -> Callable[[AsyncIterator[bytes], Any], Awaitable[None]]:
        """The method of a stream. `protocol`: what it is counted under."""

        async def method(requests: AsyncIterator[bytes], context: Any) -> None:
            transport = GrpcTransport(context)
            if self._draining:
                await transport.end(grpc.StatusCode.UNAVAILABLE, "the server is going away; connect again")
            if len(self._streams) >= self._settings.limits.streams:
                await transport.end(grpc.StatusCode.RESOURCE_EXHAUSTED, self.door.full())
            stream = opened(transport)
            self._streams[stream] = None
            self._counters.streams[protocol] += 1
            try:
                end = await stream.run()
            except Exception as error:  # noqa: BLE001 - what a stream costs ends here
                end = stream.failed(error)
            finally:
                del self._streams[stream]
                self._counters.closed[stream.ended] += 1
            if end is not None:
                await transport.end(_STATUS[end.code], end.text)

        return method


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
