"""What the files of one directory say together, as facts: pure, told of each file as it changes.

The facts depend only on what the files hold now (and, for a broken one, on what it held last), never on the order of changes. An object
that stands in several files, or twice in one, is that of the lowest (creationTimestamp, path, line); the others are reported.
"""

import os
from collections import Counter

from steersman.model.facts import Delete, Fact, Finding, FindingKey, Origin, Severity, Upsert, object_name
from steersman.model.ids import ClusterID, ObjectKey
from steersman.model.objects import Kind, Row
from steersman.sources.contents import Contents, Steps
from steersman.sources.decode import Decoded, Ignored
from steersman.sources.report import Complaint, finding_facts, joined


class Claim(Row, frozen=True, kw_only=True):
    """An object where it stands. `path` is relative to the directory, so that ties don't depend on where that is mounted."""

    created: str
    path: str
    line: int
    object: Decoded

    @property
    def rank(self) -> tuple[str, str, int]:
        return self.created, self.path, self.line


Ident = tuple[Kind, ObjectKey]
Findings = dict[FindingKey, Finding]


class Directory:
    """Files by their path below `root`, and what was told of them so far."""

    def __init__(self, cluster: ClusterID, root: str) -> None:
        self.cluster = cluster
        self.root = root
        self._files: dict[str, Contents] = {}
        self._claims: dict[Ident, tuple[Claim, ...]] = {}
        self._told: dict[Ident, Claim] = {}
        self._unsettled: dict[Ident, None] = {}
        self._ignored: Counter[Ignored] = Counter()
        self._findings: dict[object, Findings] = {}
        self._told_findings: dict[object, Findings] = {}
        self._unsettled_findings: dict[object, None] = {}

    def __contains__(self, path: str) -> bool:
        """Whether the file has contents, now or before it broke."""
        return path in self._files

    @property
    def ignored(self) -> dict[str, int]:
        """How many objects of each kind that isn't used, by `apiVersion Kind`."""
        return {f"{kind.api_version} {kind.kind}": count for kind, count in sorted(self._ignored.items(), key=str)}

    def put(self, path: str, contents: Contents) -> Steps[None]:
        """This file now holds this."""
        yield from self._retract(path)
        self._files[path] = contents
        for placed in contents.objects:
            decoded = placed.object
            ident = (decoded.kind, decoded.key)
            claim = Claim(created=decoded.created, path=path, line=placed.line, object=decoded)
            claims = self._claims.get(ident)
            self._claims[ident] = (claim,) if claims is None else tuple(sorted((*claims, claim), key=lambda one: one.rank))
            self._unsettled[ident] = None
            yield
        self._count_ignored(contents, 1)
        causes: dict[FindingKey, list[Complaint]] = {}
        for remark in contents.remarks:
            key = FindingKey(self.cluster, self.place(path, remark.line), remark.complaint.id, remark.object)
            causes.setdefault(key, []).append(remark.complaint)
            yield
        self._find(("file", path), {key: _finding(key, complaints) for key, complaints in causes.items()})

    def remove(self, path: str) -> Steps[None]:
        """This file is gone."""
        yield from self._retract(path)
        self._files.pop(path, None)
        self._find(("file", path), {})
        self.trouble(path, None)

    def _retract(self, path: str) -> Steps[None]:
        contents = self._files.get(path, Contents())
        self._count_ignored(contents, -1)
        for placed in contents.objects:
            ident = (placed.object.kind, placed.object.key)
            claims = tuple(claim for claim in self._claims.get(ident, ()) if claim.path != path)
            if claims:
                self._claims[ident] = claims
            else:
                self._claims.pop(ident, None)
            self._unsettled[ident] = None
            yield

    def trouble(self, path: str, complaint: Complaint | None, line: int | None = None) -> None:
        """The file as a whole (the directory, for the empty path) can't be read for this reason, and keeps what it held; None: it can."""
        place = self.place(path, line)
        key = FindingKey(self.cluster, place, complaint.id, self.place(path)) if complaint else None
        self._find(("trouble", path), {key: _finding(key, [complaint])} if key and complaint else {})

    def place(self, path: str, line: int | None = None) -> str:
        """FILE:LINE as people count lines."""
        file = os.fsencode(f"{self.root}/{path}" if path else self.root).decode(errors="replace")
        return file if line is None else f"{file}:{line + 1}"

    def _count_ignored(self, contents: Contents, sign: int) -> None:
        for kind, count in contents.ignored.items():
            self._ignored[kind] += sign * count
            if not self._ignored[kind]:
                del self._ignored[kind]
            self._find(("ignored", kind), self._ignored_finding(kind))

    def _ignored_finding(self, kind: Ignored) -> Findings:
        count = self._ignored[kind]
        if not count:
            return {}
        key = FindingKey(self.cluster, self.place(""), "kind-ignored", f"{kind.api_version} {kind.kind}")
        complaint = Complaint(
            id=key.id,
            severity=Severity.WARNING if kind.instead else Severity.INFO,
            cause=f"{count} object{'s' if count > 1 else ''} of this kind in {self.cluster} change nothing: the kind is not used",
            remedy=f"write {kind.kind} as {kind.instead}" if kind.instead else "nothing, where you didn't expect it to matter to proxies",
        )
        return {key: _finding(key, [complaint])}

    def _find(self, owner: object, findings: Findings) -> None:
        if findings:
            self._findings[owner] = findings
        elif self._findings.pop(owner, None) is None:
            return
        self._unsettled_findings[owner] = None

    def facts(self, seen: float) -> Steps[list[Fact]]:
        """What changed since this was asked last. `seen`: wall clock seconds."""
        facts: list[Fact] = []
        for ident in self._unsettled:
            claims = self._claims.get(ident, ())
            self._settle(ident, claims, seen, facts)
            if len(claims) > 1 or ("object", ident) in self._findings:
                self._find(("object", ident), self._duplicates(ident, claims))
            yield
        self._unsettled.clear()
        for owner in self._unsettled_findings:
            self._settle_findings(owner, seen, facts)
            yield
        self._unsettled_findings.clear()
        return facts

    def _settle(self, ident: Ident, claims: tuple[Claim, ...], seen: float, facts: list[Fact]) -> None:
        told = self._told.get(ident)
        if not claims:
            if self._told.pop(ident, None) is not None:
                facts.append(Delete(kind=ident[0], key=ident[1]))
            return
        claim = claims[0]
        if told is not None and _same(told, claim):
            return
        self._told[ident] = claim
        origin = Origin(
            source=self.cluster,
            place=self.place(claim.path, claim.line),
            uid=claim.object.uid,
            resource_version=claim.object.resource_version,
            seen=seen,
        )
        facts.append(Upsert(kind=ident[0], key=ident[1], value=claim.object.value, origin=origin))

    def _duplicates(self, ident: Ident, claims: tuple[Claim, ...]) -> Findings:
        findings: Findings = {}
        for loser in claims[1:]:
            winner = claims[0]
            why = "is older" if winner.created != loser.created else "comes first"
            key = FindingKey(self.cluster, self.place(loser.path, loser.line), "duplicate-object", object_name(*ident))
            complaint = Complaint(
                id=key.id,
                severity=Severity.WARNING,
                cause=f"{self.place(winner.path, winner.line)} defines it as well and {why}, so this one is not used",
                remedy="delete one of the two",
            )
            findings[key] = _finding(key, [complaint])
        return findings

    def _settle_findings(self, owner: object, seen: float, facts: list[Fact]) -> None:
        now = self._findings.get(owner, {})
        before = self._told_findings.get(owner, {})
        facts += finding_facts(before, now, lambda finding: Origin(source=self.cluster, place=finding.place, seen=seen))
        if now:
            self._told_findings[owner] = now
        else:
            self._told_findings.pop(owner, None)


def _same(told: Claim, claim: Claim) -> bool:
    """Whether telling this claim would say nothing new, neither of the object nor of where it is."""
    if (told.path, told.line) != (claim.path, claim.line):
        return False
    before, now = told.object, claim.object
    return before is now or (before.uid, before.resource_version, before.value) == (now.uid, now.resource_version, now.value)


def _finding(key: FindingKey, complaints: list[Complaint]) -> Finding:
    first = complaints[0]
    return Finding(
        id=key.id,
        severity=first.severity,
        object=key.object,
        place=key.place,
        cause=joined(list(dict.fromkeys(complaint.cause for complaint in complaints))),
        remedy=first.remedy,
    )
