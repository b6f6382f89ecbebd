"""What is wrong inside an object that is used all the same, and findings as facts."""

from collections.abc import Callable, Mapping

import msgspec

from steersman.model.facts import Delete, Finding, FindingKey, Origin, Severity, Upsert
from steersman.model.objects import Kind, Row

_MOST_CAUSES = 5


class Complaint(Row, frozen=True, kw_only=True):
    """A finding whose object and place are known elsewhere: the same object may move in its file. `id` as in docs/findings.md."""

    id: str
    severity: Severity
    cause: str
    remedy: str


class Report:
    """Gathers the complaints of one object; those of one id become one."""

    __slots__ = ("_said",)

    def __init__(self) -> None:
        self._said: list[Complaint] = []

    def __call__(self, finding: str, cause: str, remedy: str, severity: Severity = Severity.WARNING) -> None:
        self._said.append(Complaint(id=finding, severity=severity, cause=cause, remedy=remedy))

    def __len__(self) -> int:
        """How many complaints came, those of one id counted each."""
        return len(self._said)

    def complaints(self) -> tuple[Complaint, ...]:
        """One for each id, in the order of the first of each."""
        if not self._said:
            return ()
        causes: dict[str, list[str]] = {}
        for said in self._said:
            causes.setdefault(said.id, []).append(said.cause)
        first = {said.id: said for said in reversed(self._said)}
        return tuple(msgspec.structs.replace(first[finding], cause=joined(of_it)) for finding, of_it in causes.items())


def joined(causes: list[str]) -> str:
    """The causes as one text; of many, the first few and how many more there are."""
    shown = "; ".join(causes[:_MOST_CAUSES])
    return shown if len(causes) <= _MOST_CAUSES else f"{shown}; and {len(causes) - _MOST_CAUSES} more"


def finding_facts(
    before: Mapping[FindingKey, Finding], now: Mapping[FindingKey, Finding], origin: Callable[[Finding], Origin]
) -> list[Upsert | Delete]:
    """What is to be told where a source has these findings now, and had those `before`."""
    facts: list[Upsert | Delete] = [Delete(kind=Kind.FINDING, key=key) for key in before if key not in now]
    for key, finding in now.items():
        if before.get(key) != finding:
            facts.append(Upsert(kind=Kind.FINDING, key=key, value=finding, origin=origin(finding)))
    return facts
