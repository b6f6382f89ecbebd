"""What is noted of the sources of a running server."""

import asyncio
import gc
from types import SimpleNamespace
from typing import Any, cast

import pytest

from steersman.admin.counters import Counters
from steersman.admin.state import SourceState
from steersman.model.clusters import ClusterState
from steersman.model.facts import Synced
from steersman.server.app import Server
from steersman.server.engine import Engine
from steersman.server.sources import Source, Sources
from tests.support.mesh import fact, health
from tests.support.static import until


async def test_what_a_source_has_told_that_comes_late_is_kept_from_the_collector_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[int] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(len(told)))
    monkeypatch.setattr(gc, "set_threshold", lambda *thresholds: None)
    told: list[Any] = []

    async def ask(question: Any) -> None:
        await asyncio.sleep(0)

    engine = SimpleNamespace(submit=told.extend, ask=ask, ready=asyncio.Event())
    feeds = Sources(cast(Engine, engine), Counters())
    for name, timeout in (("east", 60.0), ("west", 0.0)):
        feeds.add(Source(name, "files", name, timeout))
    server: Any = SimpleNamespace(feeds=feeds, engine=engine, pipeline=SimpleNamespace(held={}), _tell_of_strangers=lambda: None)
    feeds.statuses = lambda: ()  # type: ignore[method-assign]
    becoming = asyncio.create_task(Server._become_ready(server))
    feeds.emit([Synced(source="east")])
    await until(lambda: engine.ready.is_set() and frozen == [1, 1])
    feeds.emit([Synced(source="west")])
    await until(lambda: frozen == [1, 1, 2])
    becoming.cancel()


async def test_a_cluster_that_its_warm_file_stands_in_for_is_waited_for_no_longer() -> None:
    told: list[Any] = []
    feeds = Sources(cast(Engine, SimpleNamespace(submit=told.extend)), Counters())
    east = Source("east", "kubernetes", "east.kubeconfig", 60.0)
    feeds.add(east)
    waiting = asyncio.create_task(feeds.synced())
    feeds.emit([fact(health("east", ClusterState.UNREACHABLE))])
    await asyncio.sleep(0)
    assert (east.known, east.state, waiting.done()) == (False, SourceState.SYNCING, False)
    feeds.emit([fact(health("east", ClusterState.UNREACHABLE, warm=5.0))])
    await waiting
    assert (east.known, east.state) == (True, SourceState.WARM)
    feeds.emit([Synced(source="east")])
    assert (east.known, east.state) == (True, SourceState.SYNCED)
    assert len(told) == 3
