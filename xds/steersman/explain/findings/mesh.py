"""What the checks look at, and what they gather on their way."""

from collections.abc import Hashable, Iterable
from typing import Any, TypeVar

from steersman.explain.findings.kinds import SEVERITIES
from steersman.graph import Table
from steersman.model.facts import Finding, Severity
from steersman.model.ids import NetworkID, ObjectKey, ServiceKey
from steersman.model.mesh import ObjectRef
from steersman.model.objects import Kind
from steersman.pipeline import Pipeline
from steersman.registry.mesh import mesh_of

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")

Step = Iterable[Iterable[Finding]]
"""What is looked at in one go: parts that share what has to be computed for them, and of which each may fail alone."""

SHOWN = 3
"""So many examples stand in a cause."""


class Mesh:
    """A settled pipeline, to be read, and a survey of its endpoints that `services` makes for the checks after it.

    `on_network`: the services with endpoints on each network. `plain`: services with endpoints that speak no mTLS, by network, with one of
    them as an example.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.read = pipeline.graph.ask
        self.config = mesh_of(self.read)
        self.on_network: dict[NetworkID, set[ServiceKey]] = {}
        self.plain: dict[ServiceKey, dict[NetworkID, str]] = {}

    def rows(self, table: Table[K, R]) -> dict[K, R]:
        return self._pipeline.graph.rows(table)

    def keys(self, table: Table[K, Any]) -> list[K]:
        """The keys of a table, sorted: what comes or goes between two steps does no harm."""
        return sorted(self.rows(table))  # type: ignore[type-var]  # all keys of tables sort

    def place(self, kind: Kind, key: Any) -> str:
        """FILE:LINE of an object, or ""."""
        origin = self._pipeline.origins.get((kind, key))
        return origin.place if origin is not None else ""

    def finding(
        self, finding: str, at: ObjectRef, cause: str, remedy: str, *, about: str = "", severity: Severity | None = None
    ) -> Finding:
        """A finding at an object. `about`: what it is about, where that is more or less than the object. Severity: the id's, unless
        given."""
        return Finding(
            id=finding,
            severity=severity or SEVERITIES[finding],
            object=about or str(at),
            place=self.place(at.kind, at.key),
            cause=cause,
            remedy=remedy,
        )


def service_ref(key: ObjectKey) -> ObjectRef:
    return ObjectRef(Kind.SERVICE, key)


def listed(items: Iterable[object]) -> str:
    """The first few, and how many more there are."""
    texts = [str(item) for item in items]
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more
