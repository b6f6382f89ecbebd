"""Room for the tests that need the machine to themselves, among workers that share it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Room:
    """A place that many may be in at once, or one alone.

    Processes that name the same path share the room; it is left when its holder ends, however it ends. Who waits to be alone holds the door
    meanwhile, so that a stream of others cannot keep it waiting for ever.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._door = os.open(path.with_suffix(".door"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._floor = os.open(path.with_suffix(".floor"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def held(self, *, alone: bool) -> Iterator[None]:
        """Wait for the room, and stay in it for the length of the `with` block."""
        fcntl.flock(self._door, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._floor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        finally:
            fcntl.flock(self._door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._floor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Leave nothing behind. Others that have the room open keep it among themselves."""
        for descriptor, suffix in ((self._door, ".door"), (self._floor, ".floor")):
            os.close(descriptor)
            self._path.with_suffix(suffix).unlink(missing_ok=True)
