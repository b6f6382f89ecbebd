"""The mesh's own certificate authority, as a source: a directory of keys and certificates, from which come the trust bundle and a
certificate for each workload that someone wants.

One root signs an intermediate for each cluster, that a leaf for each workload identity in it. What is there is served as it is, byte for
byte; what is missing or due is made by whichever server takes the directory's lock first, and the others find it there.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from steersman.errors import SourceError
from steersman.model.config import ClusterConfig, MeshConfig
from steersman.model.facts import Delete, Fact, Finding, FindingKey, Leaf, LeafKey, Origin, Root, Synced, Upsert
from steersman.model.objects import Kind
from steersman.sources.ca_authorities import SOURCE, Authorities, Place, place_of
from steersman.sources.ca_keys import Lifetimes
from steersman.sources.ca_leaves import Leaves

Emit = Callable[[Sequence[Fact]], None]

_POLL = 10.0
"""Seconds between looks at the directory: for what another server rotated or an operator changed, and for what is due."""
_RETRY = 0.05
"""Seconds until the next try of the lock."""
_PATIENCE = 10.0
"""Seconds of being locked out after which that is an error: whoever has the lock writes for some milliseconds."""


class _View(NamedTuple):
    """What the directory says. `unfinished`: there is more to sign. `busy`: another server is writing in it."""

    bundle: bytes
    leaves: Mapping[LeafKey, Leaf]
    findings: Mapping[FindingKey, Finding]
    unfinished: bool
    busy: bool


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
        self._directory = _Directory(directory, clusters, mesh, lifetimes or Lifetimes())
        self._clock = clock
        self._poll = poll
        self._wanted: frozenset[LeafKey] = frozenset()
        self._changed = asyncio.Event()

    def want(self, leaves: frozenset[LeafKey]) -> None:
        """All the leaves that are wanted from now on. On the event loop's thread."""
        if leaves != self._wanted:
            self._wanted = leaves
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
            await asyncio.wait_for(self._changed.wait(), max(0.0, seconds))
        except TimeoutError:
            return


def existing_facts(
    directory: Path, clusters: Sequence[ClusterConfig], mesh: MeshConfig, wanted: frozenset[LeafKey], clock: Callable[[], float] = time.time
) -> list[Fact]:
    """What of the trust bundle and of the wanted leaves is there, and what is wrong; makes nothing. Without Synced."""
    files = _Directory(directory, clusters, mesh, Lifetimes())
    now = clock()
    return _Told(files).facts(files.read(wanted, now), wanted, now)[:-1]


class _Directory:
    """Looks at the directory; one thread at a time."""

    def __init__(self, directory: Path, clusters: Sequence[ClusterConfig], mesh: MeshConfig, lifetimes: Lifetimes) -> None:
        places = {cluster.name: place_of(directory, cluster.name, cluster.trust_domain or mesh.trust_domain) for cluster in clusters}
        self._places = frozenset(places.values())
        other = Place(directory / "other", "proxies of no configured cluster", mesh.trust_domain)
        self._authorities = Authorities(directory, mesh.trust_domain, lifetimes)
        self._leaves = Leaves(self._authorities, places, other, lifetimes)
        self.path = directory
        self._lifetimes = lifetimes
        self._prune_at = 0.0

    def look(self, wanted: frozenset[LeafKey], now: float, everything: bool, sign: bool) -> _View:
        """`everything`: look at all files again, else only at those of leaves that aren't known yet. `sign`: make what leaves are due.

        Raises SourceError.
        """
        places = sorted(self._places | self._leaves.places(wanted))
        current = everything or self._authorities.busy or not self._authorities.intermediates.keys() >= set(places)
        if current:
            self._authorities.look(places, now, make=True)
        if not self._authorities.bundle and not self._authorities.busy:
            causes = "; ".join(f"{finding.cause} ({finding.remedy})" for finding in self._authorities.findings.values())
            raise SourceError(f"there is no root certificate in {self.path}, and none can be made: {causes}")
        self._leaves.look(wanted, everything=everything)
        due = self._leaves.due(wanted, now)
        if due and not current:  # what another server signed meanwhile must not be judged by what was here before
            self._authorities.look(places, now, make=True)
            due = self._leaves.due(wanted, now)
        unfinished = self._leaves.sign(due, now) if sign else bool(due)
        if not due and now >= self._prune_at:
            self._leaves.prune(now)
            self._prune_at = now + self._lifetimes.leaf
        return self._view(unfinished)

    def read(self, wanted: frozenset[LeafKey], now: float) -> _View:
        """Looks at all files and makes nothing."""
        self._authorities.look(sorted(self._places | self._leaves.places(wanted)), now, make=False)
        self._leaves.look(wanted, everything=True)
        return self._view(False)

    def file(self, key: LeafKey) -> Path:
        return self._leaves.file(key)

    def _view(self, unfinished: bool) -> _View:
        authorities, leaves = self._authorities, self._leaves
        findings = {**authorities.findings, **leaves.findings()}
        return _View(authorities.bundle, leaves.leaves(), findings, unfinished, authorities.busy or leaves.busy)


class _Told:
    """What has been emitted."""

    def __init__(self, directory: _Directory) -> None:
        self.synced = False
        self._directory = directory
        self._bundle = b""
        self._leaves: dict[LeafKey, Leaf] = {}
        self._findings: dict[FindingKey, Finding] = {}

    def facts(self, view: _View, wanted: frozenset[LeafKey], seen: float) -> list[Fact]:
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
