"""Where things stand in the CA's directory, and how they are written there so that replicas may share it.

lock                         held while anything is written
root/NAME.pem                a root's key and certificate; `steersman-N.pem` are ours, and are succeeded before they end
roots/NAME.pem               certificates of others' roots that are to be accepted as well; only the operator writes here
intermediates/CLUSTER.pem    a cluster's key and certificate
leaves/CLUSTER/NAME.pem      a workload's key, certificate and intermediate
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from steersman.model.facts import LeafKey
from steersman.model.ids import ClusterID

OURS = "steersman-"
_LOCK_WAIT = 10.0

Stamp = tuple[int, int, int, int]
"""Tells a file from what it was."""


class CAFiles:
    """The paths. Clusters that aren't configured (a proxy may say any) share one authority, so that they can't fill the directory."""

    def __init__(self, directory: Path, clusters: frozenset[ClusterID]) -> None:
        self.directory = directory
        self.root = directory / "root"
        self.roots = directory / "roots"
        self.intermediates = directory / "intermediates"
        self.leaves = directory / "leaves"
        self._clusters = clusters

    def authority(self, cluster: ClusterID) -> ClusterID:
        """Whose intermediate signs for this cluster: its own, or the empty name's."""
        return cluster if cluster in self._clusters else ClusterID("")

    def intermediate(self, cluster: ClusterID) -> Path:
        return self.intermediates / f"{file_name(self.authority(cluster))}.pem"

    def leaf(self, key: LeafKey) -> Path:
        return self.leaves / file_name(self.authority(key.cluster)) / f"{file_name(key.identity.removeprefix('spiffe://'))}.pem"

    def stamp(self) -> tuple[int, ...]:
        """Changes when anybody has put something into the directory: whoever writes here renames files into place."""
        leaves = (self.leaves / file_name(cluster) for cluster in sorted({*self._clusters, ""}))
        return tuple(_modified(path) for path in (self.root, self.roots, self.intermediates, self.leaves, *leaves))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the directories, and keeps other processes from writing. Raises OSError; BlockingIOError where one of them won't stop."""
        for path in (self.directory, self.root, self.roots, self.intermediates, self.leaves):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            until = time.monotonic() + _LOCK_WAIT
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.01)
            yield
        finally:
            os.close(descriptor)


def pem_files(directory: Path) -> list[Path]:
    """By name; none where there is no such directory."""
    try:
        return sorted(path for path in directory.iterdir() if path.suffix == ".pem" and not path.name.startswith("."))
    except OSError:
        return []


def file_name(text: str) -> str:
    """A name for a file, unlike that of any other text; `_` for the empty one."""
    name = quote(text, safe="").replace("_", "%5F") or "_"
    return name if len(name) <= 200 else f"{name[:160]}_{sha256(text.encode()).hexdigest()[:32]}"


def status_of(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def stamp_of(status: os.stat_result) -> Stamp:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _modified(path: Path) -> int:
    status = status_of(path)
    return status.st_mtime_ns if status else 0


def write(path: Path, data: bytes, *, durable: bool) -> None:
    """The whole file or nothing, for its owner only. `durable`: also if the machine loses power. The lock must be held."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    beside = path.with_name(f".{path.name}.new"[-255:])
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        if durable:
            file.flush()
            os.fsync(descriptor)
    beside.rename(path)
    if durable:
        parent = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
