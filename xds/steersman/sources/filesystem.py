"""Files and directories as they are on disk: blocking, and never raising for what a user can do to a file."""

import fcntl
import os
import signal
import stat
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from steersman.model.facts import Severity
from steersman.sources.report import Complaint
from steersman.sources.texts import FORMATS, Format

LARGEST = 64 << 20
"""Bytes of the largest file that is read."""

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
"""Non-blocking: to open a FIFO would wait for whoever writes into it."""


class Signature(NamedTuple):
    """Tells a file from what it was: any write or replacement changes it."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Signature":
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Listing(NamedTuple):
    """What stands below a directory; paths are relative to it, "" is itself. `troubles`: what couldn't be looked at, and why."""

    files: Mapping[str, Signature]
    directories: frozenset[str]
    troubles: Mapping[str, Complaint]


class Text(NamedTuple):
    """A file that was read whole, while nobody wrote to it."""

    data: bytes
    digest: bytes
    signature: Signature


class Gone(NamedTuple):
    """There is no such file."""


class Busy(NamedTuple):
    """Somebody has the file open for writing, or changed it while it was read."""

    signature: Signature


class Unreadable(NamedTuple):
    complaint: Complaint


def is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def format_of(path: str) -> Format | None:
    """None for a file that isn't read."""
    stem, dot, suffix = path.rpartition("/")[2].rpartition(".")
    return FORMATS.get(f"{dot}{suffix.lower()}") if stem and not stem.startswith(".") else None


def listing(root: Path) -> Listing | None:
    """The files to be read below a directory, symbolic links followed, each real directory entered once. None: it is no directory."""
    files: dict[str, Signature] = {}
    directories: set[str] = set()
    troubles: dict[str, Complaint] = {}
    entered: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        path = waiting.pop(0)
        try:
            status = (root / path).stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(root / path) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            if not path:
                return None
            troubles[path] = unreadable(error)
            continue
        directories.add(path)
        for entry in entries:
            if entry.name.startswith("."):
                continue
            below = f"{path}/{entry.name}" if path else entry.name
            try:
                if entry.is_dir():
                    waiting.append(below)
                elif format_of(below) is not None:
                    files[below] = Signature.of(entry.stat())
            except OSError as error:
                if format_of(below) is not None:
                    troubles[below] = unreadable(error)
    return Listing(files, frozenset(directories), troubles)


def read(path: Path, *, even_if_busy: bool = False, largest: int = LARGEST) -> Text | Gone | Busy | Unreadable:
    """The file's bytes. `even_if_busy`: whoever has it open for writing doesn't seem to write any more."""
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError as error:
        return Unreadable(unreadable(error)) if path.is_symlink() else Gone()
    except NotADirectoryError:
        return Gone()
    except OSError as error:
        return Unreadable(unreadable(error))
    try:
        return _read(descriptor, even_if_busy, largest)
    except OSError as error:
        return Unreadable(unreadable(error))
    finally:
        os.close(descriptor)


def _read(descriptor: int, even_if_busy: bool, largest: int) -> Text | Gone | Busy | Unreadable:
    status = os.fstat(descriptor)
    signature = Signature.of(status)
    if stat.S_ISDIR(status.st_mode):
        return Gone()
    if not stat.S_ISREG(status.st_mode):
        return Unreadable(_unreadable("it is not a regular file", "replace it by a file, or give it another suffix"))
    if status.st_size > largest:
        return Unreadable(_too_large(status.st_size, largest))
    if not even_if_busy and _is_open_for_writing(descriptor):
        return Busy(signature)
    data = b""
    while piece := os.read(descriptor, max(4096, status.st_size - len(data) + 1)):
        data = data + piece if data else piece
        if len(data) > largest:
            return Unreadable(_too_large(len(data), largest))
    if Signature.of(os.fstat(descriptor)) != signature and not even_if_busy:
        return Busy(signature)
    return Text(data, blake2b(data, digest_size=16).digest(), signature)


def tells_writers(root: Path, found: Listing, now: float) -> bool:
    """Whether the file system can be asked who is writing. Network file systems refuse every lease, as if somebody always were: there,
    files that have been left alone for a minute seem to be written, too. `now`: wall clock seconds."""
    settled = sorted((signature.modified, path) for path, signature in found.files.items() if signature.modified < (now - 60) * 1e9)
    for _, path in settled[:3]:
        with suppress(OSError), os.fdopen(os.open(root / path, _READ), "rb", buffering=0) as file:
            if not _is_open_for_writing(file.fileno()):
                return True
    return not settled


def _is_open_for_writing(descriptor: int) -> bool:
    """Whether anybody has this file open for writing: Linux then refuses a read lease. Where it can't tell (no Linux, another's file): no.

    The lease is given back at once. Should somebody open the file for writing just then, they wait for these microseconds, and we are sent
    a signal, of a kind that is ignored unless handled.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def unreadable(error: OSError) -> Complaint:
    return _unreadable(f"it can't be read: {error.strerror}", "make it readable for the user that Steersman runs as, or remove it")


def _unreadable(cause: str, remedy: str) -> Complaint:
    return Complaint(id="file-unreadable", severity=Severity.ERROR, cause=f"{cause}; what it held last is kept", remedy=remedy)


def _too_large(size: int, largest: int) -> Complaint:
    return Complaint(
        id="file-too-large",
        severity=Severity.ERROR,
        cause=f"it has {size} bytes, more than {largest}; what it held last is kept",
        remedy="split it into several files",
    )
