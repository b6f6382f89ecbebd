"""References for what the wire costs: servers that send bytes to all who are connected, and nothing else.

python -m tests.bench.bare grpc|socket     prints its port; sends to everyone, each time that a line with a number of bytes comes

`grpc`: grpc.aio with the options that we give it, one coroutine a stream that reads ACKs as bytes, and a write to each; a first request
that isn't empty is answered. `socket`: a loop of `socket.send`.
"""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

import grpc
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse, Resource
from google.protobuf.any_pb2 import Any as Packed

from steersman.names import EDS
from steersman.server.transport import OPTIONS
from tests.bench import processes
from tests.bench.http2 import Load

PATH: Final = b"/bare.Bare/Stream"
BACKLOG: Final = 4_096

Kind = Literal["grpc", "socket"]


class Bare:
    """Such a server. Its address is `address`, its process `pid`."""

    def __init__(self, kind: Kind) -> None:
        # grpc.aio writes a traceback for every stream whose client is killed before its method has begun.
        self._process = subprocess.Popen(
            (sys.executable, "-m", "tests.bench.bare", kind),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.pid = self._process.pid
        processes.apart(self.pid)
        self.address = ("127.0.0.1", int(self._process.stdout.readline()))

    def send(self, size: int) -> None:
        """So many bytes to everyone."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{size}\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@contextmanager
def bare(kind: Kind) -> Iterator[Bare]:
    server = Bare(kind)
    try:
        yield server
    finally:
        server.stop()


class Sockets(Load):
    """The clients of `socket`: they read, and count what is complete."""

    def connect(self, address: tuple[str, int], count: int, size: int) -> None:
        """`size`: bytes of what will be sent to each."""
        for _ in range(count):
            one = socket.create_connection(address)
            self.register(one, Receiver(self, one, size).readable)


class Receiver:
    def __init__(self, load: Load, one: socket.socket, size: int) -> None:
        self._load = load
        self._socket = one
        self._size = self._left = size

    def readable(self) -> None:
        self._left -= len(self._socket.recv(self._left))
        if not self._left:
            self._left = self._size
            self._load.received += 1
            self._load.last = time.perf_counter()


# -- the servers ----------------------------------------------------------------------------------------------------------------


def response(size: int) -> bytes:
    """A DeltaDiscoveryResponse with one resource of so many bytes."""
    resource = Resource(name="bare", version="1", resource=Packed(type_url=EDS, value=bytes(size)))
    return DeltaDiscoveryResponse(type_url=EDS, nonce="1", resources=[resource]).SerializeToString()  # type: ignore[no-any-return]


async def serve_grpc() -> None:
    streams: list[Any] = []

    async def method(requests: AsyncIterator[bytes], context: Any) -> None:
        streams.append(context)
        if await context.read():
            await context.write(response(0))
        while await context.read() is not grpc.aio.EOF:
            pass
        streams.remove(context)

    server = grpc.aio.server(options=OPTIONS)
    handler = grpc.method_handlers_generic_handler("bare.Bare", {"Stream": grpc.stream_stream_rpc_method_handler(method)})
    server.add_generic_rpc_handlers((handler,))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        message = response(int(line))
        await asyncio.gather(*(context.write(message) for context in streams))
    await server.stop(0)


def serve_sockets() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
        accepted: list[socket.socket] = []

        def accept() -> None:
            while True:
                accepted.append(listener.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        print(listener.getsockname()[1], flush=True)
        for line in sys.stdin:
            message = bytes(int(line))
            for one in accepted:
                one.send(message)


if __name__ == "__main__":
    processes.more_files()
    if sys.argv[1] == "grpc":
        asyncio.run(serve_grpc())
    else:
        serve_sockets()
