"""Ten minutes of churn and faults at one API server: afterwards a source that was there all along holds what a fresh one does.

Seconds in $STEERSMAN_SOAK, 600 by default.
"""

import asyncio
import os
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from steersman.model.clusters import ClusterState
from tests.bench import processes
from tests.bench.figures import Figure
from tests.support.apiserver.double import Double
from tests.support.apiserver.faults import Answer, Cut, Ends, Late, Pieces, Silent, Where
from tests.support.apiserver.following import Followed, fresh
from tests.support.apiserver.server import Script
from tests.support.apiserver.store import Refused
from tests.support.objects import endpoint, pod, service, slice_of

SECONDS = float(os.environ.get("STEERSMAN_SOAK", "600"))
NAMES = 200
WRITES = 20
"""In each turn of 50 ms."""
UNAVAILABLE = Answer(503, b"not now\n", "text/plain")


def run() -> Iterator[Figure]:
    with Double() as double, TemporaryDirectory() as base:
        double.store.capacity = 5_000
        different, held, turns = asyncio.run(churned(double, Path(base)))
    yield Figure(
        name=f"{SECONDS:.0f} s of churn with {turns} faults: objects that differ from a fresh list", values=(different,), unit="", target=0
    )
    yield Figure(name="the same: memory of the source and the double in the second half", values=tuple(held), unit="MB")


async def churned(double: Double, base: Path) -> tuple[float, list[float], int]:
    """How many objects differ at the end; MB of this process now and then; how many faults there were."""
    chance = random.Random(int(time.time()))
    faults = 0
    held: list[float] = []
    async with Followed(double, base / "followed", silence=5.0) as followed:
        await followed.until(lambda: followed.synced, 60)
        began = time.monotonic()
        while (past := time.monotonic() - began) < SECONDS:
            double.do(lambda: written(double, chance))
            followed.log.clear()
            if chance.random() < 0.02:
                faults += 1
                await asyncio.to_thread(harmed, double, chance)
            if past > SECONDS / 2 and past > SECONDS / 2 + len(held) * SECONDS / 40:
                held.append(processes.private(os.getpid()) / processes.MB)
            await asyncio.sleep(0.05)
        double.do(double.server.scripts.clear)
        expected = await fresh(double, base / "fresh")
        await followed.until(lambda: followed.status().state is ClusterState.SYNCED, 120)
        await followed.source.release(None)  # what the removal guard holds of the last fault would go by itself in five minutes
        with suppress(AssertionError):  # how many differ is the figure
            await followed.until(lambda: not differing(followed, expected), 60)
        return float(differing(followed, expected)), held, faults


def differing(followed: Followed, expected: Mapping[Any, Any]) -> int:
    held = followed.objects()
    return sum(held.get(key) != expected.get(key) for key in held.keys() | expected.keys())


def written(double: Double, chance: random.Random) -> None:
    """So many objects are made, changed, or deleted."""
    store = double.store
    for _ in range(WRITES):
        number = chance.randrange(NAMES)
        name = f"s{number}"
        entries = [endpoint(f"{name}-{place}", f"10.0.{number}.{place + 1}") for place in range(chance.randrange(9))]
        made = chance.choice(
            (
                service(name, {"http": (80 + chance.randrange(3), 8080)}),
                slice_of(name, {"http": 8080}, entries),
                pod(f"{name}-1", f"10.0.{number}.1", ready=chance.random() < 0.5),
            )
        )
        if chance.random() < 0.75:
            store.apply(made)
            continue
        with suppress(Refused):  # it was not there
            store.delete(store.resource_of(made["kind"]), ("demo", made["metadata"]["name"]))


def harmed(double: Double, chance: random.Random) -> None:
    """Something goes wrong with the server, the watches that run, or requests to come."""
    match chance.randrange(7):
        case 0:
            double.compact()
            double.restart()
        case 1:
            double.stop()
            time.sleep(chance.random())
            double.start()
        case 2:
            double.freeze()
            time.sleep(chance.random())
            double.thaw()
        case 3:
            double.disturb(Cut(chance.choice(list(Where)), after=chance.randrange(20)))
        case 4:
            double.disturb(chance.choice((Ends(), Pieces(size=50), Silent())))
        case _:
            fault = chance.choice((UNAVAILABLE, Late(0.3), Cut(Where.RESET), Silent()))
            script = Script(fault, times=chance.randrange(1, 5))
            double.do(lambda: double.server.scripts.append(script))
