"""Findings: what a user should know and can mend, worked out of the values that decide, and those that sources reported.

docs/findings.md says of each id what it means.
"""

from collections.abc import Iterable, Iterator

from steersman.explain.findings.clusters import clusters
from steersman.explain.findings.configuration import settings_findings
from steersman.explain.findings.gateways import gateways
from steersman.explain.findings.mesh import Mesh, Step
from steersman.explain.findings.networks import networks
from steersman.explain.findings.proxies import proxies
from steersman.explain.findings.services import services, slices
from steersman.graph import ComputeFailed
from steersman.model.facts import Finding, Severity
from steersman.pipeline import Pipeline
from steersman.registry.collections import FINDINGS

__all__ = ["finding_steps", "findings", "in_order", "settings_findings"]

_ORDER = (Severity.ERROR, Severity.WARNING, Severity.INFO)


def findings(pipeline: Pipeline) -> tuple[Finding, ...]:
    """All findings of a settled pipeline, errors first, then by id, object and cause."""
    return in_order(found for step in finding_steps(pipeline) for found in step)


def finding_steps(pipeline: Pipeline) -> Iterator[list[Finding]]:
    """The same in small steps, in no order: a large mesh takes seconds, and a server has other things to do between two steps.

    Between steps the pipeline may settle anew; each step looks at what stands then.
    """
    mesh = Mesh(pipeline)
    yield list(mesh.rows(FINDINGS).values())
    for check in (services, slices, gateways, networks, clusters, proxies):
        yield from _guarded(pipeline, check(mesh))


def _guarded(pipeline: Pipeline, steps: Iterator[Step]) -> Iterator[list[Finding]]:
    """A value that could not be computed costs the part of a step that needed it, and is a finding itself."""
    try:
        for step in steps:
            with pipeline.graph.answering():
                found = [one for part in step for one in _part(part)]
            yield found
    except ComputeFailed as failure:
        yield [_failed(failure)]


def _part(part: Iterable[Finding]) -> list[Finding]:
    try:
        return list(part)
    except ComputeFailed as failure:
        return [_failed(failure)]


def _failed(failure: ComputeFailed) -> Finding:
    return Finding(
        id="compute-failed",
        severity=Severity.ERROR,
        object=str(failure.ref),
        cause=f"{type(failure.__cause__).__name__}: {failure.__cause__}",
        remedy="this is a bug in Steersman: please report it with the objects that it is about",
    )


def in_order(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each finding once, errors first, then by id, object and cause."""
    return tuple(sorted(dict.fromkeys(found), key=lambda one: (_ORDER.index(one.severity), one.id, one.object, one.place, one.cause)))
