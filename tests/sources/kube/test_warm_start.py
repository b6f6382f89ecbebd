"""A source that starts while its cluster's API is silent: it tells what the warm file has, and what the API says as soon as it is back."""

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from steersman.errors import SourceError
from steersman.model.clusters import ClusterHealth, ClusterState, OutagePolicy
from steersman.model.facts import Delete, Upsert
from steersman.model.ids import ObjectKey
from steersman.model.objects import Kind
from steersman.settings import OutageSettings, RemovalGuardSettings
from steersman.sources.kube.credentials import Credentials, KubeconfigFile
from steersman.sources.kube.source import KubeSource
from steersman.sources.kube.timing import Timing
from steersman.sources.kube.warmstore import WarmDirectory
from tests.sources.kube.test_removal_guard import shown
from tests.sources.kube.test_source import EAST, ISTIO, TIMING, followed, of_kinds, reviews, state_of, written
from tests.sources.listening import Listener, polled, running
from tests.support import objects
from tests.support.apiserver.double import Double
from tests.support.apiserver.faults import Answer, Late
from tests.support.apiserver.kinds import definition_of

WARM = replace(TIMING, warm=0.3, keep_first=0.1, keep=0.2, keep_contact=60.0, patience=1.0)
DAY = 24 * 3600.0


@pytest.fixture
def kubeconfig(double: Double, tmp_path: Path) -> Path:
    return written(tmp_path / "east.kubeconfig", double)


class Restarts:
    """Sources of one cluster, one after the other, each as in a process of its own with the same directory of warm files."""

    def __init__(self, path: Path, double: Double) -> None:
        self.kubeconfig = written(path / "east.kubeconfig", double)
        self.directory = path / "warm"
        self.file = self.directory / "east.warm"

    def source(self, timing: Timing = WARM, max_age: float = DAY, **settings: Any) -> KubeSource:
        self.last = WarmDirectory(self.directory, max_age)
        return KubeSource(EAST, KubeconfigFile(self.kubeconfig), timing=timing, warm=self.last.of(EAST), **settings)

    @asynccontextmanager
    async def running(self, timing: Timing = WARM, **settings: Any) -> AsyncIterator[tuple[KubeSource, Listener]]:
        source = self.source(timing, **settings)
        async with running(source.run) as heard:
            yield source, heard
            await source.keep()
        self.last.close()

    async def first(self) -> dict[Any, Any]:
        """What a server held that has ended in order."""
        async with self.running() as (_, heard):
            await heard.until(lambda: heard.synced)
            return held(heard)


@pytest.fixture
def restarts(double: Double, tmp_path: Path) -> Restarts:
    double.apply(*reviews(("reviews-1", "10.0.0.1"), ("reviews-2", "10.0.0.2")))
    return Restarts(tmp_path, double)


def held(heard: Listener) -> dict[Any, Any]:
    """The objects, with who they are."""
    return {
        found: (value, heard.origins[found].uid, heard.origins[found].resource_version)
        for found, value in heard.values.items()
        if isinstance(found[1], ObjectKey)
    }


def health(heard: Listener) -> ClusterHealth:
    found: ClusterHealth = heard.values[Kind.CLUSTER_STATE, EAST]
    return found


def changed(batches: Iterable[Any], heard: Listener, before: dict[Any, Any]) -> list[str]:
    """What the facts of these batches changed, in order."""
    return [
        f"{'delete' if isinstance(fact, Delete) else 'upsert'} {fact.key.name}"
        for batch in batches
        for fact in batch
        if isinstance(fact, Upsert | Delete)
        and isinstance(fact.key, ObjectKey)
        and (isinstance(fact, Delete) or before.get((fact.kind, fact.key), (None,))[0] != fact.value)
    ]


# -- a restart in an outage ---------------------------------------------------------------------------------------------------


async def test_a_restart_in_an_outage_tells_what_was_told_before_and_marks_it(double: Double, restarts: Restarts) -> None:
    before = await restarts.first()
    double.stop()
    async with restarts.running() as (source, heard):
        await heard.until(lambda: held(heard))
        assert held(heard) == before
        assert heard.synced == []
        assert len([batch for batch in heard.batches if of_kinds(batch)]) == 1
        await heard.until(lambda: state_of(heard) is ClusterState.UNREACHABLE)
        contact = source.status().contact
        assert health(heard).since == health(heard).warm == contact
        assert source.status().uid == health(heard).uid != ""
        assert sum(resource.warm for resource in source.status().resources) == len(before)
        (finding,) = heard.findings()
        assert finding.id == "cluster-unreachable"
        assert f"{len(before)} objects stand as its warm file has them, of 20" in finding.cause
        assert str(restarts.file) in heard.origins[Kind.POD, ObjectKey(EAST, objects.NAMESPACE, "reviews-1")].place
    async with restarts.running() as (source, heard):
        await heard.until(lambda: held(heard))
        assert (held(heard), source.status().contact) == (before, contact), "an outage may see several restarts"


async def test_a_file_that_will_be_read_is_waited_for_like_one_that_is(double: Double, restarts: Restarts) -> None:
    """Whoever gives up a dead cluster while its file waits for its turn has nothing of it."""
    await restarts.first()
    double.stop()
    async with restarts.running(replace(WARM, warm=1.5)) as (source, heard):
        await polled(lambda: source.status().state is ClusterState.UNREACHABLE)
        assert (held(heard), source.status().reading) == ({}, True)
        await heard.until(lambda: held(heard))
        assert not source.status().reading
    restarts.file.unlink()
    async with restarts.running(replace(WARM, warm=0.5)) as (source, _):
        await polled(lambda: source.status().state is ClusterState.UNREACHABLE)
        await polled(lambda: not source.status().reading)


async def test_when_the_api_is_back_it_replaces_the_file_as_one_diff(double: Double, restarts: Restarts) -> None:
    before = await restarts.first()
    double.stop()
    async with restarts.running() as (source, heard):
        await heard.until(lambda: held(heard))
        double.delete("Pod", "reviews-1", objects.NAMESPACE)
        double.apply(objects.pod("reviews-3", "10.0.0.3"))
        batches = len(heard.batches)
        double.start()
        await heard.until(lambda: heard.synced)
        told = [batch for batch in heard.batches[batches:] if changed([batch], heard, before)]
        assert len(told) == 1
        assert sorted(changed(told, heard, before)) == ["delete reviews-1", "upsert reviews-3"]
        assert heard.names(Kind.POD) == ["reviews-2", "reviews-3"]
        await heard.until(lambda: state_of(heard) is ClusterState.SYNCED and health(heard).warm == 0.0)
        assert heard.findings() == []
        assert heard.origins[Kind.POD, ObjectKey(EAST, objects.NAMESPACE, "reviews-2")].place == "", "the API has told it"
        assert source.status().warm == 0.0


async def test_an_api_that_answers_in_time_is_all_that_is_told(double: Double, restarts: Restarts) -> None:
    await restarts.first()
    double.delete("Pod", "reviews-1", objects.NAMESPACE)
    with double.script(Late(0.5), "watch", "endpointslices", None):
        async with restarts.running() as (source, heard):
            await heard.until(lambda: heard.synced)
            assert heard.names(Kind.POD) == ["reviews-2"]
            assert not any(isinstance(fact, Delete) for batch in heard.batches for fact in batch)
            assert {origin.place for (_, key), origin in heard.origins.items() if isinstance(key, ObjectKey)} == {""}
            assert source.status().warm == 0.0


@pytest.mark.parametrize("how", ["its time", "a command", "the API"])
async def test_what_the_first_list_after_an_outage_lacks_of_the_file_is_held(double: Double, restarts: Restarts, how: str) -> None:
    """As where an API server comes back with a backup of its data, or before its controllers do."""
    await restarts.first()
    double.stop()
    skipped = 0.0
    guard = RemovalGuardSettings(at_least=1, hold=300.0)
    async with restarts.running(removals=guard, clock=lambda: time.time() + skipped) as (source, heard):
        await heard.until(lambda: held(heard))
        double.delete("EndpointSlice", "reviews-1", objects.NAMESPACE)
        double.delete("Pod", "reviews-1", objects.NAMESPACE)
        double.delete("Pod", "reviews-2", objects.NAMESPACE)
        double.start()
        await heard.until(lambda: heard.synced)
        assert (shown(heard), heard.names(Kind.POD)) == (["10.0.0.1", "10.0.0.2"], ["reviews-1", "reviews-2"])
        assert "Service east/demo/reviews" in [one.object for one in heard.findings() if one.id == "removal-held"]
        await heard.until(lambda: state_of(heard) is ClusterState.SYNCED and health(heard).warm == 0.0)
        match how:
            case "its time":
                skipped = 300.0
            case "a command":
                assert await source.release(None)
            case "the API":
                double.apply(*reviews(("reviews-1", "10.0.0.1"), ("reviews-2", "10.0.0.2")))
        await heard.until(lambda: source.status().held == ())
        assert shown(heard) == (["10.0.0.1", "10.0.0.2"] if how == "the API" else [])
        assert heard.findings() == []


@pytest.mark.parametrize("how", ["frozen", "expired", "broken kubeconfig"])
async def test_whatever_keeps_the_api_from_telling_its_file_is_told(double: Double, restarts: Restarts, how: str) -> None:
    before = await restarts.first()
    match how:
        case "frozen":
            double.freeze()
        case "expired":
            double.expire()
        case _:
            restarts.kubeconfig.write_text("nonsense: [")
    source, heard = restarts.source(), Listener()
    task = asyncio.create_task(source.run(heard.emit))
    await heard.until(lambda: held(heard))
    assert held(heard) == before
    expected = ClusterState.UNREACHABLE if how == "frozen" else ClusterState.UNAUTHORISED
    await heard.until(lambda: state_of(heard) is expected)
    assert health(heard).since == health(heard).warm == source.status().contact
    if how == "broken kubeconfig":
        with pytest.raises(SourceError):
            await task
        task = asyncio.create_task(source.run(heard.emit))  # as by its supervisor
        with pytest.raises(SourceError):
            await task
        assert source.status().warm > 0, "what stands is from the file still"
    double.thaw()
    written(restarts.kubeconfig, double, token=double.issue())
    double.delete("Pod", "reviews-1", objects.NAMESPACE)
    if task.done():
        task = asyncio.create_task(source.run(heard.emit))
    await heard.until(lambda: heard.synced and heard.names(Kind.POD) == ["reviews-2"])
    await heard.until(lambda: state_of(heard) is ClusterState.SYNCED and health(heard).warm == 0.0)
    task.cancel()
    await asyncio.wait({task})


async def test_credentials_that_are_not_had_are_not_waited_for(double: Double, restarts: Restarts, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await restarts.first()
    had, ready = KubeconfigFile.credentials, asyncio.Event()

    async def hang(access: KubeconfigFile) -> Credentials:
        """As a plugin that needs a network which is away."""
        await ready.wait()
        return await had(access)

    monkeypatch.setattr(KubeconfigFile, "credentials", hang)
    async with restarts.running() as (source, heard):
        await heard.until(lambda: held(heard))
        assert held(heard) == before
        assert state_of(heard) is ClusterState.STALE
        assert health(heard).since == health(heard).warm == source.status().contact > 0
        double.delete("Pod", "reviews-1", objects.NAMESPACE)
        ready.set()
        await heard.until(lambda: heard.synced)
        assert heard.names(Kind.POD) == ["reviews-2"]


async def test_another_cluster_behind_the_address_gets_nothing_of_the_file(double: Double, restarts: Restarts) -> None:
    await restarts.first()
    double.stop()
    async with restarts.running() as (_, heard):
        await heard.until(lambda: held(heard))
        uid = health(heard).uid
        double.replace(authority=False)
        double.apply(*reviews(("reviews-1", "10.0.0.9")))
        double.forbid("nodes")
        written(restarts.kubeconfig, double)
        await heard.until(lambda: heard.names(Kind.POD) == ["reviews-1"])
        assert heard.values[Kind.POD, ObjectKey(EAST, objects.NAMESPACE, "reviews-1")].ips == ("10.0.0.9",)
        assert heard.names(Kind.NODE) == [], "though nothing was told of it that would replace it"
        await heard.until(lambda: state_of(heard) is ClusterState.FORBIDDEN)
        assert health(heard).uid not in ("", uid)
        assert health(heard).warm == 0.0


async def test_a_file_of_another_cluster_is_not_used_where_the_api_says_who_it_is(double: Double, restarts: Restarts) -> None:
    await restarts.first()
    double.replace(authority=False)
    double.apply(*reviews(("reviews-9", "10.0.0.9")))
    with double.script(Answer(500), None, "pods", None):
        async with restarts.running() as (_, heard):
            await heard.until(lambda: heard.names(Kind.SERVICE))
            assert heard.names(Kind.POD) == []
            await heard.until(lambda: "warm-file-unusable" in heard.finding_ids())
            assert "another cluster" in next(one for one in heard.findings() if one.id == "warm-file-unusable").cause


# -- a part of it -------------------------------------------------------------------------------------------------------------


async def test_a_resource_that_fails_has_what_the_file_has_and_the_others_what_the_api_says(double: Double, restarts: Restarts) -> None:
    await restarts.first()
    double.delete("Pod", "reviews-1", objects.NAMESPACE)
    double.delete("Node", "n1")
    with double.script(Answer(500), None, "pods", None):
        async with restarts.running() as (source, heard):
            await heard.until(lambda: heard.names(Kind.POD))
            assert heard.names(Kind.POD) == ["reviews-1", "reviews-2"]
            assert heard.names(Kind.NODE) == []
            await heard.until(lambda: state_of(heard) is ClusterState.STALE)
            assert health(heard).since == health(heard).warm == source.status().contact
            assert heard.synced == []
    async with restarts.running() as (_, heard):
        await heard.until(lambda: heard.synced)
        assert heard.names(Kind.POD) == ["reviews-2"]


async def test_what_is_forbidden_now_stands_until_its_own_time_has_come(double: Double, restarts: Restarts) -> None:
    double.apply(definition_of(ISTIO, ("v1",), "gateways", "Gateway"), objects.passthrough("10.0.0.9", 15443))
    await restarts.first()
    double.forbid("pods")
    double.forbid("gateways")
    async with restarts.running() as (source, heard):
        await heard.until(lambda: heard.names(Kind.POD))
        assert heard.names(Kind.GATEWAY) == ["cross-network"]
        await heard.until(lambda: state_of(heard) is ClusterState.FORBIDDEN)
        (pods,) = (one for one in heard.findings() if one.object == "Resource east/pods")
        assert "the 2 of its warm file stand" in pods.cause
        first = source.status().contact
        await polled(lambda: source.status().kept > first)
        await asyncio.sleep(1.0)
    async with restarts.running(max_age=0.8) as (_, heard):  # the others were followed a moment ago
        await heard.until(lambda: heard.names(Kind.NODE))
        assert heard.names(Kind.POD) == []
        await heard.until(lambda: "warm-file-unusable" in heard.finding_ids())


async def test_objects_of_a_kind_that_is_served_no_more_are_gone_when_the_api_is_back(double: Double, restarts: Restarts) -> None:
    double.apply(definition_of(ISTIO, ("v1",), "gateways", "Gateway"), objects.passthrough("10.0.0.9", 15443))
    await restarts.first()
    double.stop()
    async with restarts.running() as (_, heard):
        await heard.until(lambda: heard.names(Kind.GATEWAY))
        double.start()
        double.delete("CustomResourceDefinition", f"gateways.{ISTIO}")
        await heard.until(lambda: heard.synced and heard.names(Kind.GATEWAY) == [])
        await heard.until(lambda: health(heard).warm == 0.0)


# -- how old ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [OutagePolicy.DEMOTE, OutagePolicy.DROP])
async def test_an_outage_counts_from_the_last_contact_before_the_restart(double: Double, restarts: Restarts, policy: OutagePolicy) -> None:
    await restarts.first()
    double.stop()
    await asyncio.sleep(0.5)
    async with restarts.running(outage=OutageSettings(policy=policy, after=0.4)) as (_, heard):
        await heard.until(lambda: held(heard))
        assert health(heard).outage is policy, "from the first moment"


async def test_a_file_that_is_too_old_is_not_used_and_that_is_told(double: Double, restarts: Restarts) -> None:
    await restarts.first()
    double.stop()
    await asyncio.sleep(0.3)
    async with restarts.running(max_age=0.2) as (_, heard):
        await heard.until(lambda: heard.finding_ids() == ["cluster-unreachable", "warm-file-unusable"])
        assert held(heard) == {}
        double.start()
        await heard.until(lambda: heard.synced)
        await heard.until(lambda: heard.finding_ids() == [], timeout=10)


async def test_a_damaged_file_costs_what_it_would_have_given_and_is_replaced(double: Double, restarts: Restarts) -> None:
    before = await restarts.first()
    restarts.file.write_bytes(restarts.file.read_bytes()[:-1])
    double.stop()
    async with restarts.running() as (_, heard):
        await heard.until(lambda: heard.finding_ids() == ["cluster-unreachable", "warm-file-unusable"])
        assert held(heard) == {}
        double.start()
        await heard.until(lambda: heard.synced)
    double.stop()
    async with restarts.running() as (_, heard):
        await heard.until(lambda: held(heard))
        assert held(heard) == before


# -- keeping ------------------------------------------------------------------------------------------------------------------


async def test_the_file_follows_what_changes_and_is_left_alone_while_nothing_does(double: Double, restarts: Restarts) -> None:
    async with restarts.running() as (source, heard):
        await heard.until(lambda: heard.synced)
        await polled(lambda: source.status().kept)
        status = restarts.file.stat()
        await asyncio.sleep(0.6)
        assert restarts.file.stat().st_ino == status.st_ino
        double.delete("Pod", "reviews-1", objects.NAMESPACE)
        await polled(lambda: restarts.file.stat().st_ino != status.st_ino)
        double.stop()
        await heard.until(lambda: state_of(heard) is ClusterState.UNREACHABLE)
        contact = source.status().contact
        await polled(lambda: source.status().kept >= contact)
        # The process dies here, without a word.
        other = restarts.source()
        async with running(other.run) as again:
            await again.until(lambda: held(again))
            assert again.names(Kind.POD) == ["reviews-2"]
            assert other.status().contact == pytest.approx(contact, abs=0.001)


async def test_while_something_is_held_the_file_stays_as_it_was(double: Double, restarts: Restarts) -> None:
    guard = RemovalGuardSettings(at_least=1)
    async with restarts.running(removals=guard) as (source, heard):
        await heard.until(lambda: heard.synced)
        await polled(lambda: source.status().kept)
        double.stop()
        double.delete("EndpointSlice", "reviews-1", objects.NAMESPACE)
        double.compact()
        double.start()
        await heard.until(lambda: source.status().held)
        await heard.until(lambda: state_of(heard) is ClusterState.SYNCED)
    double.stop()
    async with restarts.running(removals=guard) as (source, heard):
        await heard.until(lambda: held(heard))
        assert shown(heard) == ["10.0.0.1", "10.0.0.2"]
        double.start()
        await heard.until(lambda: heard.synced)
        await source.release(None)
        assert shown(heard) == []
        await polled(lambda: source.status().kept)
    double.stop()
    async with restarts.running() as (_, heard):
        await heard.until(lambda: held(heard))
        assert shown(heard) == []


async def test_without_a_file_all_is_as_ever(double: Double, restarts: Restarts) -> None:
    double.stop()
    async with restarts.running() as (_, heard):
        await heard.until(lambda: heard.finding_ids() == ["cluster-unreachable"])
        double.start()
        await heard.until(lambda: heard.synced and heard.finding_ids() == [])
    async with followed(KubeSource(EAST, KubeconfigFile(restarts.kubeconfig), timing=WARM)) as heard:
        assert held(heard)


async def test_no_credentials_are_in_the_file(double: Double, restarts: Restarts) -> None:
    await restarts.first()
    _, _, body = restarts.file.read_bytes().partition(b"\n")
    text = zlib.decompressobj().decompress(body)
    assert b"reviews-1" in text
    assert double.token.encode() not in text
