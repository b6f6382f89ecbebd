"""A server in a process of its own, seen from outside: what it has used of a processor, what it holds of memory, and where it runs."""

import os
import resource
import time
from pathlib import Path

KB, MB = 1024, 1024 * 1024


def apart(server: int) -> None:
    """The process `server` on one core and this one on another, if there are two."""
    first, *others = sorted(os.sched_getaffinity(os.getppid()))
    if others:
        os.sched_setaffinity(server, {first})
        os.sched_setaffinity(0, set(others))


def together() -> None:
    """This process on any core again."""
    os.sched_setaffinity(0, os.sched_getaffinity(os.getppid()))


def more_files() -> int:
    """Takes as many file descriptors as are allowed, for the processes started from here as well. How many they are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def cpu(process: int) -> float:
    """Seconds, user and system, of all threads that it has had. Counted by the kernel in nanoseconds."""
    return time.clock_gettime(~process << 3 | 2)  # clock_getcpuclockid(3)


def resident(process: int) -> int:
    """Bytes of its memory that are in RAM, shared libraries counted."""
    return _status(process, "VmRSS")


def private(process: int) -> int:
    """Bytes of RAM that it has for itself: heap and stacks."""
    return _status(process, "RssAnon")


def _status(process: int, name: str) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * KB
    raise AssertionError(f"/proc/{process}/status has no {name}")
