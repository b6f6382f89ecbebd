"""Real Envoys and small applications on loopback, for the length of a test module."""

import http.client
import json
import os
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc

from steersman.server.bootstrap import Mode, envoy_bootstrap
from tests.support.envoy import envoy

START_SECONDS = 20


def loopback(number: int) -> str:
    """An address of this process's own, so that test runs beside each other don't meet."""
    return f"127.{64 + os.getpid() // 250 % 64}.{os.getpid() % 250 + 1}.{number}"


class AdminHTTP:
    """What answers over HTTP at an admin address, HOST:PORT."""

    def __init__(self, address: str) -> None:
        self._admin = address

    def get(self, path: str) -> tuple[int, str]:
        connection = self.connection()
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def connection(self) -> http.client.HTTPConnection:
        host, _, port = self._admin.rpartition(":")
        return http.client.HTTPConnection(host, int(port), timeout=10)


class Envoy(AdminHTTP):
    """A running Envoy. `log`: what it said."""

    def __init__(self, admin: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        super().__init__(admin)
        self._process = process
        self.log = log

    def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges whose names match."""
        _, text = self.get(f"/stats?format=json&filter={pattern}")
        return {stat["name"]: stat["value"] for stat in json.loads(text)["stats"] if "name" in stat}

    def warnings(self) -> list[str]:
        """What it warned of; that connections are unlimited is the bootstrap's affair."""
        return [line for line in self.log.read_text().splitlines() if "global_downstream_max_connections" not in line]

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"Envoy ended: {self.log.read_text()}"
            try:
                if self.get("/ready")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"Envoy isn't ready after {START_SECONDS} s: {self.get('/init_dump')[1]} {self.log.read_text()}")


@contextmanager
def running_envoy(node_id: str, xds: str, directory: Path, address: str) -> Iterator[Envoy]:
    """An Envoy with that node id, ready, its admin interface on that address."""
    name = node_id.split("~")[2]
    admin = f"{address}:{free_port(address)}"
    bootstrap = envoy_bootstrap(node_id=node_id, node_cluster=name, xds=xds, admin=admin, mode=Mode.SOTW)
    with started_envoy(bootstrap, directory, name) as running:
        running.wait_ready()
        yield running


@contextmanager
def started_envoy(bootstrap: Mapping[str, Any], directory: Path, name: str) -> Iterator[Envoy]:
    """An Envoy with this bootstrap, whose admin interface has an IP address. It may not be ready yet. Its files have that name."""
    config, log = directory / f"{name}.json", directory / f"{name}.log"
    config.write_text(json.dumps(bootstrap))
    admin = bootstrap["admin"]["address"]["socket_address"]
    command = [str(envoy()), "-c", str(config), "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
    process = subprocess.Popen([*command, "--log-path", str(log)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield Envoy(f"{admin['address']}:{admin['port_value']}", process, log)
    finally:
        process.terminate()
        process.wait(timeout=10)


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


class _Echo(BaseHTTPRequestHandler):
    """Answers with the request as JSON."""

    protocol_version = "HTTP/1.1"

    def version_string(self) -> str:
        return "the-application"

    def do_GET(self) -> None:
        seen = {
            "path": self.path,
            "version": self.request_version,
            "headers": dict(self.headers),
            "client": self.client_address[0],
            "port": self.connection.getsockname()[1],
        }
        body = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Tests are quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: str, port: int) -> None:
        self.address_family = family(address)
        super().__init__((address, port), _Echo)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks DNS for its own name


class _Lines(socketserver.StreamRequestHandler):
    """Says hello first, then sends back what it gets."""

    def handle(self) -> None:
        assert isinstance(self.server, _TCP)
        self.wfile.write(self.server.greeting)
        while data := self.request.recv(4096):
            self.wfile.write(data)


class _TCP(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: str, port: int, name: str) -> None:
        self.address_family = family(address)
        self.greeting = f"hello from {name}\n".encode() if name else b"hello\n"
        super().__init__((address, port), _Lines)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that reset are part of the tests."""


@contextmanager
def http_app(address: str, port: int) -> Iterator[None]:
    """Answers GET with the request that it saw, as JSON."""
    with _served(_Server(address, port)):
        yield


@contextmanager
def tcp_app(address: str, port: int, name: str = "") -> Iterator[None]:
    """Says "hello" (from `name`) to whoever connects, then echoes."""
    with _served(_TCP(address, port, name)):
        yield


class _Metadata(grpc.GenericRpcHandler):
    """Answers any unary call with the metadata that came with it, as JSON."""

    def service(self, handler_call_details: Any) -> Any:
        def answer(request: bytes, context: Any) -> bytes:
            return json.dumps({key: str(value) for key, value in context.invocation_metadata()}).encode()

        return grpc.unary_unary_rpc_method_handler(answer)


@contextmanager
def grpc_app(address: str, port: int) -> Iterator[None]:
    """Answers every unary call with its own metadata, as JSON."""
    server = grpc.server(ThreadPoolExecutor(max_workers=2), handlers=[_Metadata()])
    assert server.add_insecure_port(f"{address}:{port}") == port
    server.start()
    try:
        yield
    finally:
        server.stop(None).wait()


@contextmanager
def _served(server: socketserver.TCPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
