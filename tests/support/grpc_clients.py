"""gRPC's own xDS clients, as processes: that of C (in Python), and that of JavaScript."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

JS = Path(__file__).parent / "grpc_js"
INSTALLED = Path(__file__).parents[2] / ".cache" / "grpc-js"
INSTALL_SECONDS = 300

PYTHON = """
import sys, grpc
channel = grpc.insecure_channel(sys.argv[1])
greet = channel.unary_unary("/demo.Greeter/Greet", request_serializer=bytes, response_deserializer=bytes)
for _ in sys.stdin:
    try:
        print(greet(b"", timeout=10).decode(), flush=True)
    except grpc.RpcError as error:
        print(error.code().name, error.details(), flush=True)
"""
"""Calls once for each line that it reads."""


class GrpcClient:
    """A process with one of gRPC's xDS clients in it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def call(self) -> str:
        """What the service answers; or the status of the call, and its words."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


def python_command(target: str) -> list[str]:
    return [sys.executable, "-c", PYTHON, target]


def js_command(target: str) -> list[str]:
    """Skips the test where JavaScript, or its packages, can't be had."""
    node, missing = _js()
    if missing:
        pytest.skip(missing)
    return [node, str(INSTALLED / "client.js"), target]


COMMANDS = {"grpc-core": python_command, "grpc-js": js_command}


@contextmanager
def grpc_client(
    kind: str, xds: str, target: str, node: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> Iterator[GrpcClient]:
    """A client of that kind (of COMMANDS), which takes `target` (xds:///...) from the server at `xds`. `node`: as a bootstrap has it."""
    command = COMMANDS[kind](target)
    bootstrap = {
        "xds_servers": [{"server_uri": xds, "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}],
        "node": {"cluster": "test", "locality": {}, **node},  # the client of JavaScript ends without them
    }
    given = {**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(bootstrap), **(environment or {})}
    process = subprocess.Popen(command, env=given, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield GrpcClient(process)
    finally:
        process.kill()
        process.communicate()


@cache
def _js() -> tuple[str, str]:
    """Where node is, and what is missing to run its gRPC client, with the remedy; "" where nothing is."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return "", "needs node and npm for gRPC's JavaScript client: apt-get install nodejs npm"
    INSTALLED.mkdir(parents=True, exist_ok=True)
    with (INSTALLED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # workers that test beside each other install it once
        return node, _install(npm)


def _install(npm: str) -> str:
    """Into a directory of its own, as the lock file says; nothing is done where it is there already."""
    wanted = (JS / "package-lock.json").read_bytes()
    done = INSTALLED / "installed"
    shutil.copy(JS / "client.js", INSTALLED)
    if done.exists() and done.read_bytes() == wanted:
        return ""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(JS / name, INSTALLED)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    run = subprocess.run(command, cwd=INSTALLED, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    if run.returncode != 0:
        last = next((line for line in reversed(run.stderr.splitlines()) if "npm error" in line and "log of this run" not in line), "")
        return f"needs the npm packages of gRPC's JavaScript client, and `npm ci` failed: {last or run.returncode}"
    done.write_bytes(wanted)
    return ""
