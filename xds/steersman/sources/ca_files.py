"""Files of the certificate authority: replaced whole or not at all, readable by their owner only, written by one process at a time.

Blocking: for a thread. A writer holds the directory's Lock; a reader needs none for a single file, as that is replaced by rename. Of a pair
(a key and its certificate) it may see the halves of two generations, and looks again under the lock before it judges.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from steersman.model.facts import Severity
from steersman.sources import replacing
from steersman.sources.filesystem import Gone, Text, Unreadable, read
from steersman.sources.report import Complaint

_LARGEST = 1 << 20
"""Bytes of the largest file that is read: a bundle of hundreds of roots."""


class Locked(Exception):
    """Another process is writing in the directory: try again soon."""


class Unwritable(Exception):
    """Nothing can be written in the directory, for this reason."""


class Unusable(Exception):
    """A file holds nothing that could be used, for this reason."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """The directory, made if it isn't there, for this thread alone. Raises Locked at once if another has it, Unwritable."""
    try:
        replacing.make_directory(directory)
        descriptor = replacing.lock(directory / "lock")
    except BlockingIOError as error:
        raise Locked from error
    except OSError as error:
        raise Unwritable(f"{error.filename or directory}: {error.strerror}") from error
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing alone would leave it to a process that was forked meanwhile
        os.close(descriptor)


def content(path: Path) -> bytes | None:
    """What the file holds; None: there is none. Raises Unusable."""
    match read(path, even_if_busy=True, largest=_LARGEST):
        case Text(data=data):
            return data
        case Unreadable(complaint):
            raise Unusable(complaint.cause.partition(";")[0])
        case Gone():
            return None
        case _:
            raise Unusable("it is being written")


def replace(path: Path, data: bytes, *, durable: bool) -> None:
    """Under the lock: the file now holds this. `durable`: even if the power fails right after. Raises Unwritable."""
    try:
        replacing.make_directory(path.parent)
        replacing.replace(path, (data,), durable=durable)
    except OSError as error:
        raise Unwritable(f"{path}: {error.strerror}") from error


def replace_pair(key: Path, key_data: bytes, certificate: Path, certificate_data: bytes) -> None:
    """Under the lock: both files of one directory, durably; settle_pair ends it should we die between them. Raises Unwritable."""
    try:
        replacing.make_directory(key.parent)
        following_key = replacing.write_following(key, (key_data,), durable=True)
        following_certificate = replacing.write_following(certificate, (certificate_data,), durable=True)
        replacing.sync_directory(key.parent)
        following_key.rename(key)
        following_certificate.rename(certificate)
        replacing.sync_directory(key.parent)
    except OSError as error:
        raise Unwritable(f"{key.parent}: {error.strerror}") from error


def settle_pair(key: Path, certificate: Path) -> None:
    """Under the lock: ends what a replace_pair left that was cut short. The key moves first: a certificate that waits alone follows it."""
    try:
        if replacing.following(key).exists():
            replacing.following(certificate).unlink(missing_ok=True)
            replacing.following(key).unlink()
        elif replacing.following(certificate).exists():
            replacing.following(certificate).rename(certificate)
    except OSError as error:
        raise Unwritable(f"{key.parent}: {error.strerror}") from error


def exposure_of(path: Path) -> Complaint | None:
    """What is wrong with who else can get at a private key (or at a directory that holds some)."""
    try:
        status = path.stat()
    except OSError:
        return None
    if status.st_uid not in (os.geteuid(), 0):
        return Complaint(
            id="ca-file-foreign",
            severity=Severity.WARNING,
            cause=f"{path} belongs to user {status.st_uid}, who can thus replace it or read its keys",
            remedy=f"chown {os.geteuid()} {path}",
        )
    directory = stat.S_ISDIR(status.st_mode)
    if status.st_mode & (0o022 if directory else 0o066):
        mode = stat.S_IMODE(status.st_mode)
        can = "change what is in it" if directory else "read or change the private key in it"
        return Complaint(
            id="ca-file-exposed",
            severity=Severity.WARNING,
            cause=f"{path} has mode {mode:04o}, so that other users can {can}",
            remedy=f"chmod {'700' if directory else '600'} {path}",
        )
    return None
