"""What is wrong inside an object that is used all the same."""

from steersman.model.facts import Severity
from steersman.model.objects import Row

_MOST_CAUSES = 5


class Complaint(Row, frozen=True, kw_only=True):
    """A finding whose object and place are known elsewhere: the same object may move in its file. `id` as in docs/findings.md."""

    id: str
    severity: Severity
    cause: str
    remedy: str


class Report:
    """Gathers the complaints of one object; those of one id become one."""

    def __init__(self) -> None:
        self._causes: dict[str, list[str]] = {}
        self._first: dict[str, tuple[Severity, str]] = {}

    def __call__(self, finding: str, cause: str, remedy: str, severity: Severity = Severity.WARNING) -> None:
        self._causes.setdefault(finding, []).append(cause)
        self._first.setdefault(finding, (severity, remedy))

    def __len__(self) -> int:
        """How many complaints came, those of one id counted each."""
        return sum(map(len, self._causes.values()))

    def complaints(self) -> tuple[Complaint, ...]:
        """One for each id, in the order of the first of each."""
        if not self._causes:
            return ()
        return tuple(
            Complaint(id=finding, severity=severity, cause=joined(self._causes[finding]), remedy=remedy)
            for finding, (severity, remedy) in self._first.items()
        )


def joined(causes: list[str]) -> str:
    """The causes as one text; of many, the first few and how many more there are."""
    shown = "; ".join(causes[:_MOST_CAUSES])
    return shown if len(causes) <= _MOST_CAUSES else f"{shown}; and {len(causes) - _MOST_CAUSES} more"
