"""Which clusters there are beside those of the configuration, and who says so. Pure: told of all claims, it says whose is taken.

    kubeconfigs (a directory) --claims--.
    Secrets of a cluster -------claims--+--> one registration a cluster, and what is wrong with the others

A name belongs to the first who claims it: the configuration, then files by their names, then Secrets by (creationTimestamp, cluster,
namespace, name, key). That depends on nothing but the claims, so that every replica decides alike, before and after a restart; when the
first is gone the next has its turn. Whether a kubeconfig can be used decides nothing of that.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from steersman.model.facts import Finding, FindingKey, Severity
from steersman.model.ids import ClusterID
from steersman.settings.strict import Wrong
from steersman.settings.values import cluster_name
from steersman.sources.kube.kubeconfig import Kubeconfig

SOURCE = "remoteClusters"

MOST = 250
"""Clusters by Secrets at once: each is six watches. Those of the oldest Secrets stay: who floods the namespace takes nobody's away."""
MOST_KEYS = 100
"""Of one Secret."""

Order = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Somebody's word that there is a cluster of this name. `place`: who that is, for people. `order`: the least has the name. `uid`: of
    the Secret, `holder`: the cluster that has it. `version`: another one where what it says has changed. `file`: of the kubeconfig; else it
    is `kubeconfig`, what could be taken of a Secret, never to be shown, or `refusal`, why nothing could. `remembered`: that Secret can't be
    read now, and nothing is known of what it says."""

    cluster: str
    place: str
    order: Order
    version: str
    uid: str = ""
    holder: str = ""
    file: Path | None = None
    kubeconfig: Kubeconfig | None = field(default=None, repr=False)
    refusal: str = ""
    remembered: bool = False

    @property
    def owner(self) -> Order:
        return (*self.order, self.uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A cluster that is to be followed. `owner`: whose claim it is; `holder`: see Claim. `file` or `kubeconfig` is set, of which the second
    holds credentials; neither where the Secret is only remembered."""

    cluster: ClusterID
    place: str
    owner: Order
    version: str
    holder: str = ""
    file: Path | None = None
    kubeconfig: Kubeconfig | None = field(default=None, repr=False)


class Registrations:
    """`own`: names of the clusters that the configuration has."""

    def __init__(self, own: Collection[ClusterID]) -> None:
        self._own = frozenset(own)
        self._claims: dict[str, tuple[Claim, ...]] = {}
        self._troubles: dict[str, tuple[Finding, ...]] = {}
        self.registrations: Mapping[ClusterID, Registration] = {}
        self.findings: Mapping[FindingKey, Finding] = {}

    def tell(self, source: str, claims: Iterable[Claim] | None, troubles: Iterable[Finding] = ()) -> None:
        """All that this source claims now, in place of what it claimed before; None where that can't be known, and what it claimed stands.
        `troubles`: what else is to be said of it."""
        if claims is not None:
            self._claims[source] = tuple(claims)
        self._troubles[source] = tuple(troubles)
        self._settle()

    def _settle(self) -> None:
        registrations: dict[ClusterID, Registration] = {}
        findings: list[Finding] = [trouble for troubles in self._troubles.values() for trouble in troubles]
        owners: dict[str, Claim] = {}
        for claim in self._few(findings):
            if found := self._not_taken(claim, owners.get(claim.cluster)):
                findings.append(found)
                continue
            if claim.remembered and claim.cluster in owners:
                continue
            owners[claim.cluster] = claim
            registration = self._registered(claim, findings)
            if registration is not None:
                registrations[registration.cluster] = registration
        self.registrations = registrations
        self.findings = {FindingKey.of(SOURCE, one): one for one in findings}

    def _few(self, findings: list[Finding]) -> Iterator[Claim]:
        """The claims in their order, but for those that are too many; each Secret that has such is told of once."""
        keys: Counter[Order] = Counter()
        taken: set[str] = set()
        over: dict[Order, Claim] = {}
        for claim in sorted((claim for claims in self._claims.values() for claim in claims), key=lambda one: one.order):
            if claim.file is None and not claim.remembered:
                secret = claim.order[:-1]
                keys[secret] += 1
                if keys[secret] > MOST_KEYS or len(taken | {claim.cluster}) > MOST:
                    over.setdefault(secret, claim)
                    continue
                taken.add(claim.cluster)
            yield claim
        for claim in over.values():
            cause = f"this key and those after it are ignored: a Secret may hold {MOST_KEYS} clusters, and all Secrets {MOST}"
            remedy = "remove what isn't needed; of more clusters, put the kubeconfigs into the directory remoteClusters.kubeconfigs"
            findings.append(_finding("remote-clusters-too-many", Severity.ERROR, claim, cause, remedy))

    def _not_taken(self, claim: Claim, owner: Claim | None) -> Finding | None:
        """Why this claim comes to nothing."""
        try:
            name = cluster_name(claim.cluster)
        except Wrong as wrong:
            cause, remedy = f"{claim.cluster!r} can't be a cluster's name", f"rename it: expected {wrong}"
            return _finding("remote-cluster-name", Severity.ERROR, claim, cause, remedy)
        if name in self._own:
            cause = "the configuration has a cluster of that name, so this one is ignored"
            return _finding(
                "remote-cluster-own", Severity.INFO, claim, cause, "none is needed where it is the same cluster; else rename one"
            )
        if owner is not None and not claim.remembered:
            cause = f"{owner.place} names a cluster so as well and comes first, so this one is ignored until that is gone"
            return _finding("remote-cluster-claimed-twice", Severity.WARNING, claim, cause, "remove one of the two, or rename one")
        return None

    def _registered(self, claim: Claim, findings: list[Finding]) -> Registration | None:
        """What its owner's claim comes to. Where a Secret that could be used no longer can, what it said before stands."""
        name = ClusterID(claim.cluster)
        if claim.file is not None:
            return Registration(cluster=name, place=claim.place, owner=claim.owner, version=claim.version, file=claim.file)
        if claim.remembered:
            return Registration(cluster=name, place=claim.place, owner=claim.owner, version=claim.version, holder=claim.holder)
        if (read := claim.kubeconfig) is not None:
            return Registration(
                cluster=name, place=claim.place, owner=claim.owner, version=claim.version, holder=claim.holder, kubeconfig=read
            )
        before = self.registrations.get(name)
        kept = before if before is not None and before.owner == claim.owner else None
        cause = f"{claim.refusal}; {'the credentials of before are used' if kept is not None else 'nothing is known of this cluster'}"
        remedy = "mend the kubeconfig, or allow what it needs by name under remoteClusters.allow, if you trust who writes this Secret"
        findings.append(_finding("remote-kubeconfig-refused", Severity.ERROR, claim, cause, remedy))
        return kept


def remembered(cluster: str, holder: str, place: str) -> Claim:
    """That a Secret named this cluster when it could be read last: whatever can be read goes before it."""
    return Claim(cluster=cluster, place=place, order=("2", holder, place, cluster), version="", holder=holder, remembered=True)


def _finding(kind: str, severity: Severity, claim: Claim, cause: str, remedy: str) -> Finding:
    return Finding(id=kind, severity=severity, object=f"Cluster {claim.cluster}", place=claim.place, cause=cause, remedy=remedy)
