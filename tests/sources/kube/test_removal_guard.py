"""The removal guard over a socket: an API server that comes back without its data, that loses it while it is in trouble, and what ends a
hold."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from steersman.model.clusters import ClusterState
from steersman.model.ids import ServiceKey
from steersman.model.objects import Kind
from steersman.model.removals import slice_held
from steersman.settings import RemovalGuardSettings
from steersman.sources.contents import Steps
from steersman.sources.kube.credentials import KubeconfigFile
from steersman.sources.kube.heartbeat import Heartbeat
from steersman.sources.kube.removals import RemovalGuard
from steersman.sources.kube.source import KubeSource
from tests.sources.kube.test_source import EAST, TIMING, state_of, written
from tests.sources.listening import Listener, running
from tests.support import objects
from tests.support.apiserver.double import Double
from tests.support.apiserver.faults import Answer, Cut, Where

NAMES = [f"reviews-{number}" for number in range(1, 7)]
IPS = [f"10.0.0.{number}" for number in range(1, 7)]
GRACE = 0.4


@pytest.fixture
def source(double: Double, tmp_path: Path) -> KubeSource:
    return source_of(double, tmp_path)


def source_of(double: Double, directory: Path, **guard: float) -> KubeSource:
    access = KubeconfigFile(written(directory / "east.kubeconfig", double))
    settings = RemovalGuardSettings(**guard)  # type: ignore[arg-type]
    return KubeSource(EAST, access, removals=settings, timeout=20.0, timing=replace(TIMING, removal_grace=GRACE, silence=0.8))


def fill(double: Double) -> None:
    """Two Services, of six endpoints in two slices, and of one."""
    double.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
    double.apply(objects.service("reviews", {"http": (80, 8080)}, ip="10.96.0.1"), objects.service("ratings", {"http": (80, 8080)}))
    lists(double, "1", *zip(NAMES[:3], IPS[:3], strict=True))
    lists(double, "2", *zip(NAMES[3:], IPS[3:], strict=True))
    double.apply(*(objects.pod(name, ip) for name, ip in zip(NAMES, IPS, strict=True)), objects.pod("ratings-1", "10.0.1.1"))
    double.apply(objects.slice_of("ratings", {"http": 8080}, [objects.endpoint("ratings-1", "10.0.1.1")]))


def lists(double: Double, suffix: str, *pods: tuple[str, str]) -> None:
    double.apply(objects.slice_of("reviews", {"http": 8080}, [objects.endpoint(*one) for one in pods], suffix=suffix))


@asynccontextmanager
async def followed(source: KubeSource) -> AsyncIterator[Listener]:
    async with running(source.run) as heard:
        await heard.until(lambda: heard.synced)
        yield heard


def shown(heard: Listener, service: str = "reviews") -> list[str]:
    """The addresses of a service's endpoints whose Pod is there, as long as the Service is."""
    if service not in heard.names(Kind.SERVICE):
        return []
    pods = heard.names(Kind.POD)
    pieces = [one for (kind, _), one in heard.values.items() if kind is Kind.ENDPOINT_SLICE and one.service == service]
    return sorted({one.address for piece in pieces for one in piece.endpoints if one.ready and one.pod in pods})


def held(heard: Listener) -> dict[str, int]:
    return {str(ref): one.count for (kind, ref), one in heard.values.items() if kind is Kind.HELD_REMOVAL}


def is_as_listed(heard: Listener) -> bool:
    """Whether nothing is held."""
    slices = [key for kind, key in heard.values if kind is Kind.ENDPOINT_SLICE]
    return not held(heard) and "removal-held" not in heard.finding_ids() and not any(slice_held(key) for key in slices)


def listed(heard: Listener) -> int:
    """How many endpoints of reviews the API lists."""
    pieces = [one for (kind, key), one in heard.values.items() if kind is Kind.ENDPOINT_SLICE and slice_held(key) is None]
    return sum(len(piece.endpoints) for piece in pieces if piece.service == "reviews")


async def test_a_list_that_is_nearly_empty_after_410_takes_nothing_until_a_command_says_so(
    double: Double, source: KubeSource, caplog: pytest.LogCaptureFixture
) -> None:
    fill(double)
    async with followed(source) as heard:
        double.stop()
        for name in ("reviews-1", "reviews-2", "ratings-1"):
            double.delete("EndpointSlice", name, objects.NAMESPACE)
        lists(double, "9", ("reviews-1", "10.0.0.1"))
        double.compact()
        double.start()
        await heard.until(lambda: held(heard))
        await heard.until(lambda: state_of(heard) is ClusterState.SYNCED)
        assert held(heard) == {"Service east/demo/ratings": 1, "Service east/demo/reviews": 5}
        assert (shown(heard), shown(heard, "ratings")) == (IPS, ["10.0.1.1"])
        assert heard.finding_ids() == ["removal-held"] * 2
        assert source.status().held_endpoints == 6
        lists(double, "9", ("reviews-1", "10.0.0.1"), ("reviews-2", "10.0.0.2"))
        await heard.until(lambda: held(heard)["Service east/demo/reviews"] == 4)
        assert await source.release(ServiceKey("demo", "none")) == ()
        (released,) = await source.release(ServiceKey("demo", "reviews"))
        assert (str(released.object), released.count) == ("Service east/demo/reviews", 4)
        assert (shown(heard), shown(heard, "ratings")) == (IPS[:2], ["10.0.1.1"])
        assert [one.count for one in await source.release(None)] == [1]
        assert (shown(heard), shown(heard, "ratings")) == (IPS[:2], [])
        assert is_as_listed(heard)
    said = [record.getMessage() for record in caplog.records if "mass removal" in record.getMessage()]
    assert len(said) == 3
    assert "1 endpoint of Service east/demo/ratings (1 of its 1 endpoints were lost in a list that was read anew)" in said[0]
    assert said[1:] == [
        "cluster east: a mass removal is held no longer (by command): 4 endpoints of Service east/demo/reviews",
        "cluster east: a mass removal is held no longer (by command): 1 endpoint of Service east/demo/ratings",
    ]


async def test_what_vanishes_while_a_resource_fails_is_held_and_what_comes_back_is_itself_again(double: Double, source: KubeSource) -> None:
    fill(double)
    async with followed(source) as heard:
        with double.script(Answer(500), resource="nodes", times=None):
            double.disturb(Cut(Where.RESET), "nodes")
            double.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
            await heard.until(lambda: state_of(heard) is ClusterState.STALE)
            lists(double, "1")
            lists(double, "2")
            await heard.until(lambda: listed(heard) == 0)
            assert (shown(heard), held(heard)) == (IPS[3:], {"Service east/demo/reviews": 3})  # half of them is not too much
            lists(double, "2", (NAMES[3], IPS[3]))
            await heard.until(lambda: held(heard) == {"Service east/demo/reviews": 2})
            assert shown(heard) == IPS[3:]
            lists(double, "1", *zip(NAMES[:3], IPS[:3], strict=True))
            await heard.until(lambda: listed(heard) == 4)
            assert (shown(heard), held(heard)) == (IPS, {"Service east/demo/reviews": 2}), "others are back, these are not"
            lists(double, "2", *zip(NAMES[3:], IPS[3:], strict=True))
            await heard.until(lambda: is_as_listed(heard))
            assert shown(heard) == IPS
        await heard.until(lambda: state_of(heard) is ClusterState.SYNCED)
        await asyncio.sleep(GRACE + 0.2)
        for suffix in ("1", "2"):
            double.delete("EndpointSlice", f"reviews-{suffix}", objects.NAMESPACE)
        await heard.until(lambda: shown(heard) == [])
        assert is_as_listed(heard)


async def test_what_is_held_goes_by_itself_when_its_time_is_over(double: Double, tmp_path: Path) -> None:
    fill(double)
    async with followed(source_of(double, tmp_path, hold=1.5)) as heard:
        double.stop()
        for name in ("reviews-1", "reviews-2"):
            double.delete("EndpointSlice", name, objects.NAMESPACE)
        double.compact()
        double.start()
        await heard.until(lambda: held(heard))
        assert shown(heard) == IPS
        hold = next(one for (kind, _), one in heard.values.items() if kind is Kind.HELD_REMOVAL)
        assert hold.until - hold.since == 1.5
        await heard.until(lambda: is_as_listed(heard))
        assert (shown(heard), heard.names(Kind.ENDPOINT_SLICE)) == ([], ["ratings-1"])


async def test_a_cluster_whose_etcd_was_set_up_anew_is_shown_as_it_was_until_it_is_filled_again(double: Double, source: KubeSource) -> None:
    fill(double)
    double.apply(*(objects.service(f"other-{number}", {"http": (80, 8080)}) for number in range(3)))
    async with followed(source) as heard:
        before = {kind: heard.names(kind) for kind in (Kind.SERVICE, Kind.POD)}
        double.roll_back()
        await heard.until(lambda: len(held(heard)) >= 3)
        await heard.until(lambda: state_of(heard) is ClusterState.SYNCED)
        assert (shown(heard), shown(heard, "ratings")) == (IPS, ["10.0.1.1"])
        assert {kind: heard.names(kind) for kind in (Kind.SERVICE, Kind.POD)} == before
        assert held(heard)["Service east"] == 5
        fill(double)
        while "Service east/demo/reviews" in held(heard):
            assert shown(heard) == IPS, "whatever is back first"
            await heard.next()
        assert shown(heard) == IPS
        await source.release(None)
        assert is_as_listed(heard)
        assert heard.names(Kind.SERVICE) == ["ratings", "reviews"]


def fail_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The source has a bug, and meets it with its next heartbeat."""
    beat = Heartbeat._alive

    def fail(heartbeat: Heartbeat, body: bytes) -> None:
        monkeypatch.setattr(Heartbeat, "_alive", beat)
        raise AssertionError("a bug")

    monkeypatch.setattr(Heartbeat, "_alive", fail)


async def test_a_source_that_is_started_afresh_after_a_bug_judges_its_first_lists_by_what_is_served(
    double: Double, source: KubeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(double)
    heard = Listener()
    task = asyncio.create_task(source.run(heard.emit))
    await heard.until(lambda: heard.synced)
    double.stop()
    double.delete("EndpointSlice", "ratings-1", objects.NAMESPACE)
    for name in (*NAMES[3:], "ratings-1"):
        double.delete("Pod", name, objects.NAMESPACE)
    double.delete("EndpointSlice", "reviews-2", objects.NAMESPACE)
    lists(double, "1", (NAMES[0], IPS[0]))
    double.compact()
    double.start()
    await heard.until(lambda: "Service east/demo/ratings" in held(heard))
    (hold,) = (one for (kind, ref), one in heard.values.items() if kind is Kind.HELD_REMOVAL and ref.key.name == "ratings")
    await heard.until(lambda: state_of(heard) is ClusterState.SYNCED)

    async def fails_and_goes_on(*missed: str) -> None:
        nonlocal task
        fail_once(monkeypatch)
        with pytest.raises(ExceptionGroup):
            await task
        for name in missed:
            double.delete("EndpointSlice", name, objects.NAMESPACE)
        again = Listener()  # for whom nothing stands but what is told from now on
        task = asyncio.create_task(source.run(again.emit))
        await again.until(lambda: again.synced)
        assert (shown(again), shown(again, "ratings")) == (IPS, ["10.0.1.1"])
        assert again.values[Kind.HELD_REMOVAL, hold.object].until == hold.until, "for no longer than before"

    await fails_and_goes_on("reviews-1")
    await fails_and_goes_on()
    task.cancel()
    await asyncio.wait({task})


async def test_a_source_that_fails_by_what_it_takes_over_begins_from_nothing_in_the_end(
    double: Double, source: KubeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(double)
    async with followed(source):
        pass

    def fail(guard: RemovalGuard, before: RemovalGuard, now: float) -> Steps[None]:
        raise AssertionError("a bug")
        yield

    monkeypatch.setattr(RemovalGuard, "go_on", fail)
    for _ in range(5):
        with pytest.raises(AssertionError, match="a bug"):
            await source.run(Listener().emit)
    async with followed(source) as heard:
        assert shown(heard) == IPS


async def test_another_clusters_objects_replace_those_of_the_one_before_at_once(double: Double, source: KubeSource) -> None:
    fill(double)
    async with followed(source) as heard:
        double.replace(authority=False)
        double.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
        double.apply(objects.service("reviews", {"http": (80, 8080)}), objects.pod("reviews-9", "10.9.0.9"))
        lists(double, "9", ("reviews-9", "10.9.0.9"))
        await heard.until(lambda: (heard.names(Kind.POD), heard.names(Kind.SERVICE)) == (["reviews-9"], ["reviews"]))
        await heard.until(lambda: shown(heard) == ["10.9.0.9"] and is_as_listed(heard))


async def test_a_guard_that_is_off_follows_a_list_to_the_letter(double: Double, tmp_path: Path) -> None:
    fill(double)
    async with followed(source_of(double, tmp_path, enabled=False)) as heard:
        double.roll_back()
        await heard.until(lambda: shown(heard) == [] and not heard.names(Kind.POD))
        assert is_as_listed(heard)
