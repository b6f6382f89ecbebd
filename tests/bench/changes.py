"""A thousand changes under load that never pauses, at real Envoys: in a mesh of two networks, and at tables set by hand."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from steersman.ads.messages import Variant
from tests.bench.figures import Figure
from tests.support.changes import Report, change, changing, seed
from tests.support.waves import wave_on

COUNT = 1000
MOST = 600.0
"""Seconds after which a run is given up: it tells how many changes it made."""


def run() -> Iterator[Figure]:
    number = seed()
    with TemporaryDirectory() as base, changing(Path(base), number) as world:
        yield from figures("a mesh of two networks, 8 Envoys", change(world, most=COUNT, seconds=MOST))
    for variant in Variant:
        with TemporaryDirectory() as base:
            yield from figures(
                f"tables by hand, one Envoy, {variant}", asyncio.run(wave_on(variant, Path(base), number, most=COUNT, seconds=MOST))
            )


def figures(title: str, report: Report) -> Iterator[Figure]:
    print(report.told())
    yield Figure(name=f"{title}: changes", values=(report.count,), unit="")
    yield Figure(name=f"{title}: changes a second", values=(report.count / report.seconds,), unit="")
    yield Figure(name=f"{title}: requests meanwhile", values=(report.requests,), unit="")
    yield Figure(name=f"{title}: requests tried again by Envoy", values=(report.retried,), unit="")
    yield Figure(name=f"{title}: requests not answered 200", values=(len(report.failed),), unit="", target=0)
    yield Figure(name=f"{title}: updates refused", values=(len(report.refused),), unit="", target=0)
