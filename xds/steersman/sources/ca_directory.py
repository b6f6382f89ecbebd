"""The certificate authority's directory as a whole: one look reads what changed, makes what is missing or due, and says what there is."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from steersman.errors import SourceError
from steersman.model.config import ClusterConfig, MeshConfig
from steersman.model.facts import Finding, FindingKey, Leaf, LeafKey
from steersman.model.ids import ClusterID
from steersman.sources.ca_authorities import Authorities, Place, place_of
from steersman.sources.ca_keys import Lifetimes
from steersman.sources.ca_leaves import Leaves


class View(NamedTuple):
    """What the directory says. `unfinished`: there is more to sign. `busy`: another server is writing in it."""

    bundle: bytes
    leaves: Mapping[LeafKey, Leaf]
    findings: Mapping[FindingKey, Finding]
    unfinished: bool
    busy: bool


class CADirectory:
    """Looks at the directory; one thread at a time."""

    def __init__(self, directory: Path, clusters: Sequence[ClusterConfig], mesh: MeshConfig, lifetimes: Lifetimes) -> None:
        self.path = directory
        self._mesh = mesh
        places = self._places_of(clusters)
        self._places = frozenset(places.values())
        other = Place(directory / "other", "proxies of no configured cluster", mesh.trust_domain)
        self._authorities = Authorities(directory, mesh.trust_domain, lifetimes)
        self._leaves = Leaves(self._authorities, places, other, lifetimes)
        self._lifetimes = lifetimes
        self._prune_at = 0.0

    def _places_of(self, clusters: Iterable[ClusterConfig]) -> dict[ClusterID, Place]:
        return {one.name: place_of(self.path, one.name, one.trust_domain or self._mesh.trust_domain) for one in clusters}

    def know(self, clusters: Iterable[ClusterConfig]) -> None:
        """The clusters from now on: each has an intermediate of its own. Those of clusters that are gone stay where they are."""
        places = self._places_of(clusters)
        self._places = frozenset(places.values())
        self._leaves.know(places)

    def look(self, wanted: frozenset[LeafKey], now: float, everything: bool, sign: bool) -> View:
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
        unread = self._leaves.look(wanted, everything=everything, patient=sign)
        due = self._leaves.due(now)
        if due and not current:  # what another server signed meanwhile must not be judged by what was here before
            self._authorities.look(places, now, make=True)
            due = self._leaves.due(now)
        unfinished = (self._leaves.sign(due, now) if sign else bool(due)) or unread
        if not unfinished and now >= self._prune_at:
            self._leaves.prune(now)
            self._prune_at = now + self._lifetimes.leaf
        return self._view(unfinished)

    def read(self, wanted: frozenset[LeafKey], now: float) -> View:
        """Looks at all files and makes nothing."""
        self._authorities.look(sorted(self._places | self._leaves.places(wanted)), now, make=False)
        self._leaves.look(wanted, everything=True, patient=False)
        return self._view(False)

    def file(self, key: LeafKey) -> Path:
        return self._leaves.file(key)

    def _view(self, unfinished: bool) -> View:
        authorities, leaves = self._authorities, self._leaves
        findings = {**authorities.findings, **leaves.findings()}
        return View(authorities.bundle, leaves.leaves(), findings, unfinished, authorities.busy or leaves.busy)
