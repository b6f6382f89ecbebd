"""A cluster read by the product's own source, over a socket, and what came of it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from steersman.model.facts import Delete, Fact, Synced, Upsert
from steersman.model.ids import ClusterID, ObjectKey
from steersman.model.objects import Kind
from steersman.sources.kube.credentials import KubeconfigFile
from steersman.sources.kube.source import KubeSource
from steersman.sources.kube.state import ClusterStatus, ResourceStatus
from steersman.sources.kube.timing import Timing
from steersman.sources.kube.warmstore import WarmDirectory
from tests.support.apiserver.client import Cluster
from tests.support.apiserver.double import kubeconfig
from tests.support.apiserver.link import Link

CLUSTER = ClusterID("east")
PATIENCE = 30.0
"""Seconds in which whatever is waited for has to come, on the slowest of machines."""
QUICK: dict[str, Any] = {
    "connect": 5.0,
    "answer": 5.0,
    "first_silence": 5.0,
    "backoff_first": 0.05,
    "backoff_last": 1.0,
    "missing": 0.3,
    "heartbeat": 0.3,
    "heartbeat_answer": 3.0,
    "heartbeat_failed": 0.1,
    "renewal": 0.1,
    "patience": 1.0,
    "grace": 0.2,
    "tick": 0.05,
    "warm": 0.3,
}
"""Shorter than what holds by default, so that tests needn't wait; what a test is about it sets itself."""


class Followed:
    """A source that runs. `log`: its facts, in order; `state`: what they come to. `kept`: of its warm file, written at the end."""

    def __init__(
        self, cluster: Cluster, directory: Path, *, link: Link | None = None, kept: WarmDirectory | None = None, **timing: Any
    ) -> None:
        self._cluster, self._link = cluster, link
        directory.mkdir(exist_ok=True)
        self._file = directory / "kubeconfig"
        self.log: list[Fact] = []
        self.state: dict[tuple[Kind, Any], Any] = {}
        self.synced = False
        self._changed = asyncio.Event()
        self.login()
        store = kept.of(CLUSTER) if kept is not None else None
        self.source = KubeSource(CLUSTER, KubeconfigFile(self._file), warm=store, timing=Timing(**{**QUICK, **timing}))

    def login(self, token: str = "") -> None:
        """The kubeconfig says how the cluster is reached now, with this token."""
        url = self._link.url if self._link is not None else self._cluster.url
        written = self._file.with_suffix(".new")
        written.write_text(yaml.safe_dump(kubeconfig(url, self._cluster.ca.data, token or self._cluster.token, "it")))
        written.rename(self._file)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.source.run(self._emit))
        return self

    async def __aexit__(self, *_: object) -> None:
        ended = self._task.done()
        await self.source.keep()
        self._task.cancel()
        (outcome,) = await asyncio.gather(self._task, return_exceptions=True)
        assert not ended, f"the source ended: {outcome!r}"

    def _emit(self, facts: Sequence[Fact]) -> None:
        self.log.extend(facts)
        for fact in facts:
            match fact:
                case Upsert():
                    self.state[fact.kind, fact.key] = fact.value
                case Delete():
                    self.state.pop((fact.kind, fact.key), None)
                case Synced():
                    self.synced = True
        self._changed.set()

    # -- what came ------------------------------------------------------------------------------------------------------------

    def names(self, kind: Kind, namespace: str) -> set[str]:
        """Of the objects of a kind in a namespace."""
        return {key.name for found, key in self.state if found is kind and isinstance(key, ObjectKey) and key.namespace == namespace}

    def services(self, namespace: str) -> set[str]:
        return self.names(Kind.SERVICE, namespace)

    def value(self, kind: Kind, name: str, namespace: str) -> Any:
        """Of that object; None while there is none."""
        return self.state.get((kind, ObjectKey(CLUSTER, namespace, name)))

    def about(self, kind: Kind, namespace: str, *, start: int = 0) -> list[tuple[str, str]]:
        """("put" or "delete", name) of each fact of a kind in a namespace, from that place of the log on."""
        objects = [
            fact for fact in self.log[start:] if not isinstance(fact, Synced) and fact.kind is kind and isinstance(fact.key, ObjectKey)
        ]
        here = [fact for fact in objects if fact.key.namespace == namespace]
        return [("put" if isinstance(fact, Upsert) else "delete", fact.key.name) for fact in here]

    def findings(self) -> set[tuple[str, str]]:
        """(id, object) of those that stand."""
        return {(key.id, key.object) for kind, key in self.state if kind is Kind.FINDING}

    def objects(self) -> dict[tuple[Kind, Any], Any]:
        """All that the cluster holds."""
        return {found: value for found, value in self.state.items() if isinstance(found[1], ObjectKey)}

    # -- how it stands --------------------------------------------------------------------------------------------------------

    def status(self) -> ClusterStatus:
        return self.source.status()

    def resource(self, name: str) -> ResourceStatus:
        return next(one for one in self.status().resources if one.name == name)

    async def until(self, so: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Returns as soon as it is so."""
        deadline = time.monotonic() + seconds
        while not so():
            assert not self._task.done(), f"the source ended: {self._task}"
            assert time.monotonic() < deadline, f"not so within {seconds:g} s; {self.status()}"
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), 0.05)
            except TimeoutError:
                continue


async def fresh(cluster: Cluster, directory: Path) -> dict[tuple[Kind, Any], Any]:
    """What a source that has just started makes of the cluster."""
    async with Followed(cluster, directory) as new:
        await new.until(lambda: new.synced)
        return new.objects()
