"""A load of xDS clients in one process: HTTP/2 by hand over sockets and epoll, one TCP connection a stream, as Envoy has it.

A client that costs as much as the server would measure itself. This one knows no more of HTTP/2 than a server of gRPC makes it need:
requests are made beforehand, received frames are read for their messages alone, and every response is acknowledged with bytes around its
nonce.
"""

import select
import socket
import time
from collections.abc import Callable, Iterable
from typing import Final

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 4, 5
_WINDOW: Final = 1 << 24
"""Bytes that the server may send before it hears of more room: large, so that no round waits for it."""
_FRAME: Final = 1 << 20
_THEIR_FRAME: Final = 16_384
_STREAM: Final = 1
_READ: Final = 1 << 18

_RESOURCES, _TYPE_URL, _NONCE = 0x12, 0x22, 0x2A
"""Tags, the same in DiscoveryResponse and DeltaDiscoveryResponse."""


class Broken(Exception):
    """A stream ended that was to last."""


class Wire:
    """One stream. `messages`: how many came in so far. `heard`: is given each of them."""

    __slots__ = (
        "_acknowledgement",
        "_load",
        "_message",
        "_rest",
        "_room",
        "_stream_room",
        "_taken",
        "_unsent",
        "heard",
        "messages",
        "sock",
    )

    def __init__(
        self, load: "Load", sock: socket.socket, path: bytes, requests: Iterable[bytes], acknowledgement: "Acknowledgement"
    ) -> None:
        self.sock = sock
        self.messages = 0
        self.heard: Callable[[bytes], None] | None = None
        self._load = load
        self._acknowledgement = acknowledgement
        self._rest = b""
        self._message = b""
        self._taken = 0
        self._room = 65_535
        self._stream_room = 65_535
        settings = _setting(_INITIAL_WINDOW_SIZE, _WINDOW) + _setting(_MAX_FRAME_SIZE, _FRAME)
        opening = _PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, _WINDOW.to_bytes(4, "big"))
        self._unsent = b"".join(map(_message, requests))
        self.sock.sendall(opening + _frame(_HEADERS, _END_HEADERS, _STREAM, _headers(path)))
        self.send(b"")

    def send(self, message: bytes) -> None:
        """Sends the rest of what was to be sent, and this gRPC message behind it, as far as the server has given room."""
        unsent = self._unsent + message
        while unsent and (room := min(self._room, self._stream_room, _THEIR_FRAME)) > 0:
            chunk, unsent = unsent[:room], unsent[room:]
            self._room -= len(chunk)
            self._stream_room -= len(chunk)
            self.sock.sendall(_frame(_DATA, 0, _STREAM, chunk))
        self._unsent = unsent

    def readable(self) -> None:
        """Takes in what has come."""
        data = self.sock.recv(_READ)
        if not data:
            raise Broken("the server closed the connection")
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while end - at >= 9:
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            after = at + 9 + length
            if after > end:
                break
            if data[at + 3] == _DATA:
                self._received(data[at + 9 : after])
            else:
                self._controlled(data[at + 3], data[at + 4], data[at + 5 : at + 9], data[at + 9 : after])
            at = after
        self._rest = data[at:] if at < end else b""

    def _received(self, data: bytes) -> None:
        self._taken += len(data)
        if self._taken > _WINDOW // 2:
            room = self._taken.to_bytes(4, "big")
            self.sock.sendall(_frame(_WINDOW_UPDATE, 0, 0, room) + _frame(_WINDOW_UPDATE, 0, _STREAM, room))
            self._taken = 0
        message = self._message + data if self._message else data
        while len(message) >= 5:
            after = 5 + int.from_bytes(message[1:5], "big")
            if len(message) < after:
                break
            self._answer(message[5:after])
            message = message[after:]
        self._message = message

    def _answer(self, response: bytes) -> None:
        self.messages += 1
        if self.heard is not None:
            self.heard(response)
        self._load.received += 1
        self._load.last = time.perf_counter()
        answer, size = self._acknowledgement.of(response)
        self._load.resource_bytes += size
        if self._unsent or len(answer) > min(self._room, self._stream_room) or len(answer) > _THEIR_FRAME:
            self.send(answer)
            return
        self._room -= len(answer)
        self._stream_room -= len(answer)
        self.sock.send(len(answer).to_bytes(3, "big") + b"\0\0\0\0\0\1" + answer)

    def _controlled(self, kind: int, flags: int, stream: bytes, payload: bytes) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            for at in range(0, len(payload), 6):
                if int.from_bytes(payload[at : at + 2], "big") == _INITIAL_WINDOW_SIZE:
                    self._stream_room += int.from_bytes(payload[at + 2 : at + 6], "big") - 65_535
            self.sock.sendall(_frame(_SETTINGS, _ACK, 0, b""))
            self.send(b"")
        elif kind == _PING and not flags & _ACK:
            self.sock.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW_UPDATE:
            if stream == b"\0\0\0\0":
                self._room += int.from_bytes(payload, "big")
            else:
                self._stream_room += int.from_bytes(payload, "big")
            if self._unsent:
                self.send(b"")
        elif kind in (_RESET, _GOAWAY) or (kind == _HEADERS and flags & _END_STREAM):
            raise Broken(f"the server ended the stream: frame {kind}, {payload!r}")


class Acknowledgement:
    """Answers responses. `field`: the number of type_url and of the nonce in the request. `before`: what a request of each type begins with
    beside those, as a state-of-the-world one does with the names it subscribes to."""

    def __init__(self, type_url_field: int, nonce_field: int, before: dict[bytes, bytes] | None = None) -> None:
        self._type_url = bytes((type_url_field << 3 | 2,))
        self._nonce = bytes((nonce_field << 3 | 2,))
        self._before = before or {}
        self._made: dict[bytes, bytes] = {}

    def of(self, response: bytes) -> tuple[bytes, int]:
        """The gRPC message that acknowledges this response, and how many bytes of it are resources'."""
        at, end, resources = 0, len(response), 0
        type_url = nonce = b""
        while at < end:
            tag = response[at]
            size = response[at + 1]
            at += 2
            if size > 0x7F:
                size &= 0x7F
                shift = 7
                while True:
                    byte = response[at]
                    at += 1
                    size |= (byte & 0x7F) << shift
                    if byte < 0x80:
                        break
                    shift += 7
            if tag == _RESOURCES:
                resources += size
            elif tag == _TYPE_URL:
                type_url = response[at : at + size]
            elif tag == _NONCE:
                nonce = response[at : at + size]
                break
            at += size
        head = self._made.get(type_url)
        if head is None:
            head = self._made[type_url] = self._before.get(type_url, b"") + _field(self._type_url, type_url) + self._nonce
        return b"\0" + (len(head) + 1 + len(nonce)).to_bytes(4, "big") + head + bytes((len(nonce),)) + nonce, resources


DELTA: Final = Acknowledgement(2, 6)


class Load:
    """Many streams. `received`: responses of all of them; `resource_bytes`: in fields of resources; `last`: perf_counter of the newest."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.received = 0
        self.resource_bytes = 0
        self.last = 0.0
        self._sockets: list[socket.socket] = []
        self._epoll = select.epoll()
        self._by_fd: dict[int, Callable[[], None]] = {}

    def open(self, address: tuple[str, int], path: bytes, requests: Iterable[bytes], acknowledgement: Acknowledgement = DELTA) -> Wire:
        """A stream of this method that sends these requests."""
        sock = socket.create_connection(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = Wire(self, sock, path, requests, acknowledgement)
        self.wires.append(wire)
        self.register(sock, wire.readable)
        return wire

    def register(self, sock: socket.socket, readable: Callable[[], None]) -> None:
        """From now on that is called when the socket has something to read."""
        self._sockets.append(sock)
        self._by_fd[sock.fileno()] = readable
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def run(self, until: Callable[[], bool], seconds: float = 60.0) -> None:
        """Serves all streams until it is so. Raises TimeoutError when it is not in time, Broken when a stream ends."""
        deadline = time.monotonic() + seconds
        while not until():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds:g} s; {self.received} responses had come")
            self.step(0.05)

    def step(self, seconds: float = 0.0) -> None:
        """Takes in what has come; waits so long for it."""
        for fd, _ in self._epoll.poll(seconds):
            self._by_fd[fd]()

    def quiet(self, pause: float = 0.3, seconds: float = 60.0) -> None:
        """Serves all streams until nothing has come for so long."""
        began = time.perf_counter()
        self.run(lambda: time.perf_counter() - max(began, self.last) > pause, seconds)

    def close(self) -> None:
        """Ends all streams at once, as clients do that are killed."""
        for sock in self._sockets:
            self._epoll.unregister(sock.fileno())
            sock.close()
        self.wires.clear()
        self._sockets.clear()
        self._by_fd.clear()


def _message(message: bytes) -> bytes:
    """With gRPC's five bytes before it."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _setting(name: int, value: int) -> bytes:
    return name.to_bytes(2, "big") + value.to_bytes(4, "big")


def _headers(path: bytes) -> bytes:
    """HPACK without a dynamic table: indexed fields, and literals that aren't to be indexed, by name or by the index of their name."""
    indexed = b"\x83\x86"  # :method POST, :scheme http
    literals = b"\x04" + _text(path) + b"\x01" + _text(b"xds") + b"\x0f\x10" + _text(b"application/grpc")
    return indexed + literals + b"\x00" + _text(b"te") + _text(b"trailers")


def _text(text: bytes) -> bytes:
    return bytes((len(text),)) + text


def _field(tag: bytes, content: bytes) -> bytes:
    assert len(content) < 0x80
    return tag + bytes((len(content),)) + content
