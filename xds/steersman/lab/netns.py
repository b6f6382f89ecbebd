"""Linux network namespaces: being in one, and changing several by one command of iproute2."""

import asyncio
import ctypes
import os
import socket
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from steersman.errors import SteersmanError

_NAMED = Path("/run/netns")
_OVERLAYS = Path("/etc/netns")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class CommandFailed(SteersmanError):
    """A command of the system refused what the lab asked of it."""


@contextmanager
def inside(namespace: str | None) -> Iterator[None]:
    """The calling thread is in the namespace of this name; None: where it is already.

    A socket belongs for good to the namespace that it was made in, so that being inside is over before anything is awaited.
    """
    if namespace is None:
        yield
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(_NAMED / namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(home)


def stream_socket(namespace: str | None, family: int = socket.AF_INET) -> socket.socket:
    """A TCP socket that lives in this namespace; None: in the caller's."""
    with inside(namespace):
        return socket.socket(family, socket.SOCK_STREAM)


def sysctl(namespace: str, name: str, value: str) -> None:
    """Set net.ipv4.ip_forward and the like inside a namespace. `name` with slashes, from `net` on."""
    with inside(namespace):
        Path("/proc/sys", name).write_text(value)


def named(prefix: str) -> list[str]:
    """The namespaces whose names begin so, sorted."""
    return sorted(entry.name for entry in _NAMED.iterdir() if entry.name.startswith(prefix)) if _NAMED.is_dir() else []


def overlay(namespace: str) -> Path:
    """The directory whose files `ip netns exec` shows in /etc to what runs in that namespace."""
    return _OVERLAYS / namespace


def within(namespace: str | None, argv: Sequence[str]) -> list[str]:
    """The command, run in that network namespace with its own /etc/hosts; None: as it is."""
    return list(argv) if namespace is None else ["ip", "netns", "exec", namespace, *argv]


async def run(*argv: str, text: str = "", fine: Container[int] = (0,)) -> str:
    """Run a command with this standard input to its end. Returns its standard output; raises CommandFailed, with its own words, where its
    exit status is not a `fine` one."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate(text.encode())
    if process.returncode not in fine:
        raise CommandFailed(f"{' '.join(argv)}: {err.decode(errors='replace').strip() or f'exit {process.returncode}'}")
    return out.decode()


async def ip_batch(commands: Sequence[str], *, namespace: str | None = None) -> None:
    """`ip` commands, one a line, by one process; the first that fails ends it."""
    within = ["-netns", namespace] if namespace is not None else []
    await run("ip", *within, "-batch", "-", text="".join(f"{command}\n" for command in commands))


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
