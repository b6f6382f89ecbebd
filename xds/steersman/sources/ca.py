"""The mesh's own certificate authority, as a source: a directory of keys and certificates, from which come the trust bundle and a
certificate for each workload that someone wants.

One root signs an intermediate for each cluster, that a leaf for each workload identity in it. What is there is served as it is, byte for
byte; what is missing or due is made by whichever server takes the directory's lock first, and the others find it there.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from steersman.errors import SourceError
from steersman.model.config import ClusterConfig, MeshConfig
from steersman.model.facts import Delete, Fact, Finding, FindingKey, Leaf, LeafKey, Origin, Root, Synced, Upsert
from steersman.model.objects import Kind
from steersman.sources.ca_authorities import SOURCE
from steersman.sources.ca_directory import CADirectory, View
from steersman.sources.ca_keys import Lifetimes

Emit = Callable[[Sequence[Fact]], None]

_POLL = 10.0
"""Seconds between looks at the directory: for what another server rotated or an operator changed, and for what is due."""
_RETRY = 0.05
"""Seconds until the next try of the lock."""
_PATIENCE = 10.0
"""Seconds of being locked out after which that is an error: whoever has the lock writes for some milliseconds."""


class CertificateAuthority:
    """The source "ca". `clock`: wall clock seconds. `poll`: seconds between looks at the directory."""

    def __init__(
        self,
        directory: Path,
        clusters: Sequence[ClusterConfig],
        mesh: MeshConfig,
        clock: Callable[[], float] = time.time,
        lifetimes: Lifetimes | None = None,
        poll: float = _POLL,
    ) -> None:
        self._directory = CADirectory(directory, clusters, mesh, lifetimes or Lifetimes())
        self._clock = clock
        self._poll = poll
        self._clusters: Sequence[ClusterConfig] | None = None
        self._wanted: frozenset[LeafKey] = frozenset()
        self._changed = asyncio.Event()

    def want(self, leaves: frozenset[LeafKey]) -> None:
        """All the leaves that are wanted from now on. On the event loop's thread."""
        if leaves != self._wanted:
            self._wanted = leaves
            self._changed.set()

    def know(self, clusters: Sequence[ClusterConfig]) -> None:
        """All the clusters that there are from now on. On the event loop's thread."""
        self._clusters = clusters
        self._changed.set()

    async def run(self, emit: Emit) -> None:
        """Emits the trust bundle, the wanted leaves that are there and Synced at once; then leaves as they are signed, and changes.

        Never returns. Raises SourceError while there is no root to trust, and none can be made.
        """
        loop = asyncio.get_running_loop()
        told = _Told(self._directory)
        pool = ThreadPoolExecutor(1, "steersman-ca")
        try:
            look_at, locked_out = loop.time(), 0.0
            while True:
                self._changed.clear()
                everything = loop.time() >= look_at
                if self._clusters is not None:
                    clusters, self._clusters = self._clusters, None
                    await loop.run_in_executor(pool, self._directory.know, clusters)
                    everything = True
                view = await loop.run_in_executor(pool, self._directory.look, self._wanted, self._clock(), everything, told.synced)
                if everything:
                    look_at = loop.time() + self._poll
                locked_out = 0.0 if not view.busy else locked_out or loop.time()
                if view.busy and loop.time() - locked_out > _PATIENCE:
                    raise SourceError(f"another process has held {self._directory.path / 'lock'} for {_PATIENCE:g} s: find and end it")
                if view.bundle:
                    facts = told.facts(view, self._wanted, self._clock())
                    if facts:
                        emit(facts)
                if view.busy:
                    await asyncio.sleep(_RETRY)
                elif not view.unfinished:
                    await self._sleep(look_at - loop.time())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    async def _sleep(self, seconds: float) -> None:
        """Until something else is wanted, or for so long."""
        try:
            # Not wait_for: in Python 3.11 it can lose a cancellation that comes as the event does.
            async with asyncio.timeout(max(0.0, seconds)):
                await self._changed.wait()
        except TimeoutError:
            return


def existing_facts(
    directory: Path, clusters: Sequence[ClusterConfig], mesh: MeshConfig, wanted: frozenset[LeafKey], clock: Callable[[], float] = time.time
) -> list[Fact]:
    """What of the trust bundle and of the wanted leaves is there, and what is wrong; makes nothing. Without Synced."""
    files = CADirectory(directory, clusters, mesh, Lifetimes())
    now = clock()
    return _Told(files).facts(files.read(wanted, now), wanted, now)[:-1]


class _Told:
    """What has been emitted."""

    def __init__(self, directory: CADirectory) -> None:
        self.synced = False
        self._directory = directory
        self._bundle = b""
        self._leaves: dict[LeafKey, Leaf] = {}
        self._findings: dict[FindingKey, Finding] = {}

    def facts(self, view: View, wanted: frozenset[LeafKey], seen: float) -> list[Fact]:
        """What the view says that wasn't told; the first ends with Synced. A leaf that vanished is still told while it is wanted."""
        facts: list[Fact] = []
        if view.bundle and view.bundle != self._bundle:
            origin = Origin(source=SOURCE, place=str(self._directory.path), seen=seen)
            facts.append(Upsert(kind=Kind.ROOT, key="", value=Root(bundle=view.bundle), origin=origin))
            self._bundle = view.bundle
        for key in [key for key in self._leaves if key not in wanted]:
            facts.append(Delete(kind=Kind.LEAF, key=key))
            del self._leaves[key]
        for key, leaf in view.leaves.items():
            if self._leaves.get(key) != leaf and key in wanted:
                origin = Origin(source=SOURCE, place=str(self._directory.file(key)), seen=seen)
                facts.append(Upsert(kind=Kind.LEAF, key=key, value=leaf, origin=origin))
                self._leaves[key] = leaf
        for finding_key in [key for key in self._findings if key not in view.findings]:
            facts.append(Delete(kind=Kind.FINDING, key=finding_key))
            del self._findings[finding_key]
        for finding_key, finding in view.findings.items():
            if self._findings.get(finding_key) != finding:
                origin = Origin(source=SOURCE, place=finding.place, seen=seen)
                facts.append(Upsert(kind=Kind.FINDING, key=finding_key, value=finding, origin=origin))
                self._findings[finding_key] = finding
        if not self.synced:
            self.synced = True
            facts.append(Synced(source=SOURCE))
        return facts
