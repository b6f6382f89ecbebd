"""Warm files on disk: one a cluster in a directory of their own, replaced whole, readable by their owner only.

A directory is written by one server at a time; any number may read.
"""

import asyncio
import errno
import logging
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from threading import Lock
from urllib.parse import quote

from steersman import __version__
from steersman.model.clusters import moment
from steersman.model.facts import Severity
from steersman.model.ids import ClusterID
from steersman.settings import WarmStartSettings
from steersman.sources import replacing
from steersman.sources.contents import Steps
from steersman.sources.kube.warmfile import TOGETHER, Header, Kept, Section, Unusable, Warm, Writing, checked, framed, peeked
from steersman.sources.pace import Leisure, Pace
from steersman.sources.report import Complaint

log = logging.getLogger("steersman.kubernetes")

SUFFIX = ".warm"
_LOCK = ".warm.lock"
_PEEK = 16 << 10
_LONGEST_NAME = 120
_AT_ONCE = 256 << 10
"""Bytes of frames that are made in one go, half a millisecond of the loop, and compressed in one, a millisecond of a thread."""
_READING = 30.0
"""Seconds after which a disk that does not answer is not waited for."""


class Unwritable(Exception):
    """Nothing can be written, for this reason; `remedy`: what helps."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause)
        self.remedy = remedy


class WarmDirectory:
    """The directory of all warm files. `max_age`: seconds. It belongs to whoever writes in it first, until that process ends. Without
    `keeps` nobody is to write."""

    def __init__(self, path: Path, max_age: float, *, keeps: bool = True) -> None:
        self.path = path
        self.max_age = max_age
        self.keeps = keeps
        self._lock = -1
        self._owning = Lock()
        """Files are written by several threads, and a lock that one of them has just taken would be another server's to the next."""

    def of(self, cluster: ClusterID) -> "WarmStore":
        return WarmStore(self, cluster)

    def file(self, cluster: ClusterID) -> Path:
        """Of a cluster. Its name becomes a file's: quoted if it isn't plain, cut and told apart by a digest if it is long."""
        name = quote(cluster, safe="")
        if len(name) > _LONGEST_NAME:
            name = f"{name[:_LONGEST_NAME]}.{blake2b(cluster.encode(), digest_size=8).hexdigest()}"
        return self.path / f"{name}{SUFFIX}"

    def others(self, clusters: Iterable[ClusterID]) -> list[Path]:
        """Files of other clusters than these, by name."""
        ours = {self.file(cluster) for cluster in clusters}
        with suppress(OSError):
            return sorted(path for path in self.path.iterdir() if path.suffix == SUFFIX and path not in ours)
        return []

    def held_by(self, holders: Iterable[str]) -> list[Header]:
        """Of clusters whose kubeconfig is in a Secret of one of these, as far as their files are not too old. Blocking."""
        found = []
        for path in self.others(()):
            with suppress(OSError, Unusable), path.open("rb") as file:
                header = peeked(file.read(_PEEK))
                if header.holder in holders and path == self.file(header.cluster):
                    found.append(header)
        return found

    def replace(self, path: Path, parts: Sequence[bytes]) -> None:
        """The file now holds this, or what it held before, even if the power fails. Blocking. Raises Unwritable."""
        try:
            self._own()
            replacing.replace(path, parts, durable=True)
        except OSError as error:
            following = replacing.following(path)
            with suppress(OSError):
                following.unlink()
            where = error.filename or following
            raise Unwritable(f"{where}: {error.strerror}", _remedy(error)) from error

    def remove(self, path: Path) -> None:
        """Blocking. Raises Unwritable."""
        try:
            if path.exists():
                self._own()
                path.unlink()
        except OSError as error:
            raise Unwritable(f"{path}: {error.strerror}", _remedy(error)) from error

    def _own(self) -> None:
        """Takes the directory, made if it isn't there. Raises OSError, Unwritable where another process has it."""
        with self._owning:
            replacing.make_directory(self.path)
            if self._lock < 0:
                self._lock = self._locked()

    def _locked(self) -> int:
        try:
            return replacing.lock(self.path / _LOCK)
        except BlockingIOError as error:
            raise Unwritable(
                f"another server keeps its warm files in {self.path}, so this one only reads them",
                "give each server a warmStart.directory of its own; if the other is about to end, nothing: this one takes over then",
            ) from error

    def close(self) -> None:
        """Leaves it to others."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def warm_directory(settings: WarmStartSettings, *, keeps: bool = True) -> WarmDirectory | None:
    """None where nothing is to be kept."""
    return WarmDirectory(settings.directory, settings.max_age, keeps=keeps) if settings.directory is not None else None


class WarmStore:
    """The warm file of one cluster. `complaint`: what is wrong with it, None while nothing is. `bytes`, `written`: size of what was
    written last, and when, in wall clock seconds; 0 before that. `holder`, `place`: see Header."""

    def __init__(self, directory: WarmDirectory, cluster: ClusterID) -> None:
        self.cluster = cluster
        self.path = directory.file(cluster)
        self.keeps = directory.keeps
        self.complaint: Complaint | None = None
        self.bytes = 0
        self.written = 0.0
        self.holder = self.place = ""
        self._directory = directory
        self._writing = asyncio.Lock()
        self._hurried = 0
        """How often something came to be written without leisure."""

    # -- reading --------------------------------------------------------------------------------------------------------------

    async def read(self, uid: str, now: float) -> Warm | None:
        """What the file says, to be taken once; None where there is none, and where it can't be used, which is complained of. `uid`: of
        the cluster, "" where that isn't known. `now`: wall clock seconds."""
        try:
            async with asyncio.timeout(_READING):
                frames = await asyncio.to_thread(self._frames)
            if frames is None:
                return None
            warm = Warm(frames)
            self._judge(warm.header, uid, now)
        except TimeoutError:
            self.unusable(f"it could not be read within {_READING:g} s")
        except OSError as error:
            self.unusable(f"it can't be read: {error.strerror}", "make it readable for the user that Steersman runs as, or remove it")
        except Unusable as error:
            self.unusable(str(error))
        else:
            return warm
        return None

    def is_too_old(self, followed: float, now: float) -> bool:
        return now - followed > self._directory.max_age

    def _frames(self) -> bytes | None:
        """Raises OSError, Unusable."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Unusable("it is not a regular file")
            if status.st_uid not in (os.geteuid(), 0) or status.st_mode & 0o022:
                raise Unusable(f"other users can write it (owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o})")
            return checked(file.read())

    def _judge(self, header: Header, uid: str, now: float) -> None:
        if header.cluster != self.cluster:
            raise Unusable(f"it is of cluster {header.cluster}")
        if uid and header.uid and uid != header.uid:
            raise Unusable(f"it is of another cluster behind this name (the uid of kube-system was {header.uid} and is {uid})")
        if self.is_too_old(header.contact, now):
            raise Unusable(f"it is as of {moment(header.contact)}, which is longer ago than warmStart.maxAge")

    def unusable(self, cause: str, remedy: str = "nothing: it is replaced as soon as the cluster's API has been read") -> None:
        self._complain(
            Complaint(
                id="warm-file-unusable",
                severity=Severity.WARNING,
                cause=f"{cause}; nothing of it is served",
                remedy=remedy,
            )
        )

    # -- writing --------------------------------------------------------------------------------------------------------------

    async def write(
        self, header: Header, sections: Sequence[tuple[Section, Iterator[Kept]]], pace: Pace, leisure: Leisure | None = None
    ) -> bool:
        """The file holds this from now on, unless it can't be written, which is complained of. Whether it does. `leisure`: how it rests
        meanwhile, and is given up for what comes to be written without; None: not at all."""
        self._hurried += leisure is None
        hurried = self._hurried
        async with self._writing:
            writing = Writing()
            frames = bytearray()
            framed(frames, header)
            for section, objects in sections:
                framed(frames, section)
                while await pace.run(_some(frames, objects)):
                    await asyncio.to_thread(writing.take, frames)
                    frames = bytearray()
                    if leisure is not None:
                        await leisure.rest()
                        if self._hurried != hurried:
                            return False
            writing.take(frames)
            try:
                await asyncio.to_thread(self._replace, writing)
            except Unwritable as error:
                self._complain(
                    Complaint(
                        id="warm-file-unwritten",
                        severity=Severity.WARNING,
                        cause=f"{error}; a restart while the cluster's API is silent would find {self._found()}",
                        remedy=error.remedy,
                    )
                )
                return False
            self.complaint = None
            self.written = header.written
            return True

    async def remove(self) -> None:
        """There is no such file any more, where this server may write."""
        async with self._writing:
            try:
                await asyncio.to_thread(self._directory.remove, self.path)
            except Unwritable as error:
                log.warning("the warm file %s of a cluster that is gone can't be removed: %s", self.path, error)

    def _replace(self, writing: Writing) -> None:
        parts = writing.end()
        self._directory.replace(self.path, parts)
        self.bytes = sum(map(len, parts))

    def _found(self) -> str:
        return f"what was written {moment(self.written)}" if self.written else "nothing, or what was there before"

    def _complain(self, complaint: Complaint) -> None:
        if complaint != self.complaint:
            log.warning("cluster %s: warm file %s: %s; %s", self.cluster, self.path, complaint.cause, complaint.remedy)
        self.complaint = complaint


def header_of(store: WarmStore, uid: str, contact: float, state: str, now: float) -> Header:
    return Header(
        cluster=store.cluster,
        uid=uid,
        contact=contact,
        state=state,
        written=now,
        version=__version__,
        holder=store.holder,
        place=store.place,
    )


def _some(frames: bytearray, objects: Iterator[Kept]) -> Steps[bool]:
    """Appends objects until there are enough of them, or all; whether there may be more."""
    while len(frames) < _AT_ONCE:
        together = list(islice(objects, TOGETHER))
        framed(frames, together)
        if not together:
            return False
        yield
    return True


def _remedy(error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "make room there, or move warmStart.directory to another disk; it is tried again by itself"
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return "let Steersman's user write there, set warmStart.directory to where it may, or switch it off (warmStart.enabled: false)"
        case _:
            return "see what is wrong with the disk, or move warmStart.directory elsewhere; it is tried again by itself"
