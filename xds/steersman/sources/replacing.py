"""Files that are replaced whole or not at all, readable by their owner only, and directories that one process at a time writes in.

Blocking: for a thread. Everything raises OSError.
"""

import errno
import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def make_directory(directory: Path) -> None:
    """This directory and those above it, each for its owner only where it is new."""
    if directory.is_dir():
        return
    if directory.parent != directory:
        make_directory(directory.parent)
    with suppress(FileExistsError):
        directory.mkdir(0o700)
    if not directory.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory))


def lock(path: Path) -> int:
    """A descriptor that holds the lock of this file, which is made if it isn't there. Raises BlockingIOError at once if another has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def replace(path: Path, parts: Iterable[bytes], *, durable: bool) -> None:
    """The file now holds this, or what it held before. `durable`: even if the power fails right after."""
    write_following(path, parts, durable=durable).rename(path)
    if durable:
        sync_directory(path.parent)


def following(path: Path) -> Path:
    """Where the file's next content stands until it takes its place."""
    return path.with_name(f".{path.name}.next")


def write_following(path: Path, parts: Iterable[bytes], *, durable: bool) -> Path:
    """The file's next content, beside it. What a dead writer left there is in nobody's way."""
    beside = following(path)
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(parts)
        file.flush()
        if durable:
            os.fsync(descriptor)
    return beside


def sync_directory(directory: Path) -> None:
    """Which files it has is on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
