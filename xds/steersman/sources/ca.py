"""The mesh's own certificate authority, as a source: a directory of keys and certificates, from which come the trust bundle and a
certificate for each workload that someone wants.

One root, an intermediate for each cluster, a leaf for each workload identity in it, all kept, so that a restart and every replica that
shares the directory serve the same bytes.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from steersman.model.config import ClusterConfig, MeshConfig
from steersman.model.facts import Delete, Fact, Finding, FindingKey, Leaf, LeafKey, Origin, Root, Synced, Upsert
from steersman.model.objects import Kind
from steersman.sources.ca_store import CAStore, Holdings, Lifetimes

Emit = Callable[[Sequence[Fact]], None]

SOURCE = "ca"
_POLL = 1.0
"""Seconds between looks at whether another process has put something into the directory."""
_READ_ALL = 60.0
"""Seconds between looks at every file, for what was changed without being renamed into place."""
_RETRY = 10.0
"""Seconds after which what could not be made is tried again."""
_PRUNE = 3600.0


def read_ca(directory: Path, clusters: Iterable[ClusterConfig], mesh: MeshConfig, wanted: frozenset[LeafKey], now: float) -> list[Fact]:
    """The bundle, those of these leaves that are there, and what is wrong. Makes nothing, not even the directory. Raises SourceError."""
    told = _Told()
    return told.news(_store(directory, clusters, mesh, None).read(now, wanted), now)


def _store(directory: Path, clusters: Iterable[ClusterConfig], mesh: MeshConfig, lifetimes: Lifetimes | None) -> CAStore:
    return CAStore(directory, mesh.trust_domain, frozenset(cluster.name for cluster in clusters), lifetimes)


class _Told:
    """What stands as facts."""

    def __init__(self) -> None:
        self.root: Root | None = None
        self.leaves: Mapping[LeafKey, Leaf] = {}
        self.findings: Mapping[FindingKey, Finding] = {}

    def news(self, holdings: Holdings, seen: float) -> list[Fact]:
        """What the holdings change, told from now on."""
        facts: list[Fact] = []
        if holdings.root is not None and holdings.root != self.root:
            facts.append(Upsert(kind=Kind.ROOT, key="", value=holdings.root, origin=Origin(source=SOURCE, seen=seen)))
            self.root = holdings.root
        facts += [Delete(kind=Kind.LEAF, key=key) for key in self.leaves if key not in holdings.leaves]
        for key, leaf in holdings.leaves.items():
            if self.leaves.get(key) != leaf:
                facts.append(
                    Upsert(kind=Kind.LEAF, key=key, value=leaf, origin=Origin(source=SOURCE, place=holdings.places[key], seen=seen))
                )
        findings = {FindingKey(SOURCE, finding.place, finding.id, finding.object): finding for finding in holdings.findings}
        facts += [Delete(kind=Kind.FINDING, key=key) for key in self.findings if key not in findings]
        for place, finding in findings.items():
            if self.findings.get(place) != finding:
                origin = Origin(source=SOURCE, place=finding.place, seen=seen)
                facts.append(Upsert(kind=Kind.FINDING, key=place, value=finding, origin=origin))
        self.leaves, self.findings = holdings.leaves, findings
        return facts


class CertificateAuthority:
    """The source "ca". Times come from `clock`, in seconds since the epoch."""

    def __init__(
        self,
        directory: Path,
        clusters: Iterable[ClusterConfig],
        mesh: MeshConfig,
        clock: Callable[[], float] = time.time,
        lifetimes: Lifetimes | None = None,
    ) -> None:
        self._store = _store(directory, clusters, mesh, lifetimes)
        self._clock = clock
        self._wanted: frozenset[LeafKey] = frozenset()
        self._changed = asyncio.Event()

    def want(self, leaves: frozenset[LeafKey]) -> None:
        """All the leaves wanted from now on."""
        self._wanted = leaves
        self._changed.set()

    async def run(self, emit: Emit) -> None:
        """Emits the bundle, the wanted leaves and Synced, then what changes: wishes, certificates that are due, what other replicas made.

        Each run starts from nothing. Raises SourceError where there is no root that can be used, and none can be made.
        """
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "steersman-ca") as pool:
            told, synced = _Told(), False
            prune_at = loop.time()
            while True:
                self._changed.clear()
                stamp = self._store.files.stamp()  # before reading, so that what comes meanwhile is seen next time
                holdings = await loop.run_in_executor(pool, self._store.keep, self._clock(), self._wanted)
                facts = told.news(holdings, self._clock())
                if not holdings.more and not synced:
                    synced = True
                    facts.append(Synced(source=SOURCE))
                if facts:
                    emit(facts)
                if holdings.more:
                    continue
                if loop.time() >= prune_at:
                    prune_at = loop.time() + _PRUNE
                    await loop.run_in_executor(pool, self._store.prune, self._clock())
                await self._until_due(holdings, stamp)

    async def _until_due(self, holdings: Holdings, stamp: tuple[int, ...]) -> None:
        """Returns when wishes changed, something is due, somebody else wrote, or it is time to look at everything."""
        loop = asyncio.get_running_loop()
        again_at = loop.time() + (_READ_ALL if holdings.leaves.keys() == self._wanted else _RETRY)
        retry_at = loop.time() + _RETRY
        while not self._changed.is_set() and loop.time() < again_at and self._store.files.stamp() == stamp:
            now = self._clock()
            if now >= holdings.due and loop.time() >= retry_at:
                return
            left = holdings.due - now
            try:
                async with asyncio.timeout(min(_POLL, left) if left > 0 else _POLL):
                    await self._changed.wait()
            except TimeoutError:
                if left > 0 and self._clock() >= holdings.due:
                    return
