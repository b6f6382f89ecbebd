"""The same behaviours through the product's own source, over a socket: which facts arrive, what is asked for and how soon, and how the
cluster is said to stand. Numbers as in docs/kubernetes-conformance.md.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from steersman.model.clusters import ClusterState
from steersman.model.facts import Upsert
from steersman.model.ids import ObjectKey
from steersman.model.objects import EndpointConditions, Kind
from steersman.sources.contents import run
from steersman.sources.endpointslice import Written
from steersman.sources.kube.mirror import Mirror
from steersman.sources.kube.reflector import Put, Standing
from steersman.sources.kube.resources import RESOURCES
from tests.cli.conftest import inline
from tests.support.apiserver.answers import malformed, status
from tests.support.apiserver.client import Client, Cluster
from tests.support.apiserver.double import Double
from tests.support.apiserver.faults import Answer, Cut, Late, Pieces, Silent, Where
from tests.support.apiserver.following import CLUSTER, Followed, fresh
from tests.support.apiserver.kinds import Object, definition_of
from tests.support.apiserver.link import Link
from tests.support.apiserver.server import Request
from tests.support.objects import endpoint, pod, service, slice_of

OVERLOAD = Answer(429, b"Too many requests, please try again later.\n", "text/plain; charset=utf-8", {"Retry-After": "1"})
UNAVAILABLE = Answer(503, status(503, "ServiceUnavailable", "the server is currently unable to handle the request"))
GATEWAYS = "gateways.networking.istio.io"
ISTIO = "networking.istio.io"


@pytest.fixture
def link(request: pytest.FixtureRequest) -> Iterator[Link]:
    """Before the test's cluster."""
    behind = request.getfixturevalue("cluster" if "cluster" in request.fixturenames else "double")
    with Link(behind.address, behind.port) as between:
        yield between


def svc(name: str, namespace: str, port: int = 80) -> Object:
    return service(name, {"http": (port, 8080)}, namespace=namespace)


def gateway(name: str, namespace: str, version: str = "v1") -> Object:
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    spec = {"selector": {"app": "gateway"}, "servers": [server]}
    return {"apiVersion": f"{ISTIO}/{version}", "kind": "Gateway", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def queries(double: Double, resource: str = "services", since: int = 0) -> list[tuple[str, str]]:
    """What was asked for of a resource, in order: ("list", ""), ("initial", "") for a WatchList, ("watch", resourceVersion)."""
    asked = []
    for one in double.requests(resource=resource)[since:]:
        verb = "initial" if "sendInitialEvents" in one.query else one.verb
        asked.append((verb, one.query.get("resourceVersion", "")))
    return asked


def gaps(requests: list[Request]) -> list[float]:
    """Seconds between each and the next."""
    return [later.at - sooner.at for sooner, later in itertools.pairwise(requests)]


async def synced(cluster: Cluster, followed: Followed, namespace: str, *names: str) -> None:
    """Until the source has told all, with services of these names."""
    await followed.until(lambda: followed.synced and followed.services(namespace) == set(names))


# -- 410 --------------------------------------------------------------------------------------------------------------------------


async def test_k01_after_410_in_a_stream_everything_is_told_anew_and_only_what_changed_becomes_facts(
    cluster: Cluster, link: Link, namespace: str, tmp_path: Path
) -> None:
    cluster.apply(svc("a", namespace), svc("b", namespace))
    async with Followed(cluster, tmp_path, link=link) as followed:
        await synced(cluster, followed, namespace, "a", "b")
        before = len(followed.log)
        await asyncio.to_thread(link.cut)
        cluster.delete("Service", "b", namespace)
        cluster.apply(svc("c", namespace))
        cluster.compact()
        await asyncio.to_thread(cluster.restart)
        await asyncio.to_thread(link.mend)
        await followed.until(lambda: followed.services(namespace) == {"a", "c"})
        assert sorted(followed.about(Kind.SERVICE, namespace, start=before)) == [("delete", "b"), ("put", "c")]
        await followed.until(lambda: followed.status().state in (ClusterState.SYNCED, ClusterState.FORBIDDEN))
        assert followed.objects() == await fresh(cluster, tmp_path / "fresh")


@pytest.mark.parametrize("as_status", [False, True])
async def test_k02_410_as_a_status_is_as_good_as_in_the_stream(double: Double, link: Link, tmp_path: Path, as_status: bool) -> None:
    double.manners.expired_status = as_status
    double.apply(svc("a", "demo"))
    async with Followed(double, tmp_path, link=link) as followed:
        await synced(double, followed, "demo", "a")
        asked = len(double.requests(resource="services"))
        await asyncio.to_thread(link.cut)
        double.apply(svc("b", "demo"))
        double.restart()
        await asyncio.to_thread(link.mend)
        await synced(double, followed, "demo", "a", "b")
        assert [verb for verb, _ in queries(double, since=asked)] == ["watch", "initial"]


async def test_k03_after_a_compaction_the_watch_goes_on_where_it_was(double: Double, link: Link, tmp_path: Path) -> None:
    double.apply(svc("a", "demo"))
    async with Followed(double, tmp_path, link=link) as followed:
        await synced(double, followed, "demo", "a")
        asked, position = len(double.requests(resource="services")), double.store.rv
        await asyncio.to_thread(link.cut)
        double.apply(svc("b", "demo"))
        double.compact()
        await asyncio.to_thread(link.mend)
        await synced(double, followed, "demo", "a", "b")
        assert queries(double, since=asked) == [("watch", str(position))]


async def test_k04_a_list_that_loses_its_snapshot_each_time_is_asked_for_without_pages_at_last(double: Double, tmp_path: Path) -> None:
    double.manners.watch_list = double.manners.snapshots = False
    entries = [endpoint(f"web-{number}", f"10.1.0.{number + 1}") for number in range(100)]
    names = {f"web-{number:03}" for number in range(250)}
    double.apply(*(slice_of("web", {"http": 8080}, entries, suffix=name.rpartition("-")[2]) for name in sorted(names)))

    async def forget() -> None:
        """Between any two pages everything is compacted."""
        for port in itertools.count(1):
            double.apply(svc("other", "demo", port))
            double.compact()
            await asyncio.sleep(0.03)

    with double.script(Late(0.1), verb="list", resource="endpointslices", times=None):
        forgetting = asyncio.create_task(forget())
        async with Followed(double, tmp_path, backoff_last=0.1) as followed:
            await followed.until(lambda: followed.synced)
            forgetting.cancel()
            assert followed.names(Kind.ENDPOINT_SLICE, "demo") == names
    lists = [one.query for one in double.requests("list", "endpointslices")]
    assert ["continue" in query for query in lists] == [False, True, False, True, False, True, False]
    assert "limit" not in lists[-1]


async def test_k05_pages_between_which_things_change_come_to_what_is_there(double: Double, tmp_path: Path) -> None:
    double.manners.watch_list = False
    double.apply(*(svc(f"s{number:03}", "demo") for number in range(250)))
    with double.script(Late(0.2), verb="list", resource="services", times=None):
        async with Followed(double, tmp_path) as followed:
            await followed.until(lambda: len(double.requests("list", "services")) == 2)
            double.delete("Service", "s249", "demo")
            double.apply(svc("s2490", "demo"), svc("s000", "demo", port=81))
            await followed.until(lambda: "s2490" in followed.services("demo") and "s249" not in followed.services("demo"))
            await followed.until(lambda: followed.value(Kind.SERVICE, "s000", "demo").ports[0].port == 81)
            assert followed.objects() == await fresh(double, tmp_path / "fresh")


# -- bookmarks, WatchList, resourceVersions ---------------------------------------------------------------------------------------


async def test_k06_a_watch_is_resumed_at_its_last_bookmark_which_is_no_object(double: Double, link: Link, tmp_path: Path) -> None:
    double.apply(svc("a", "demo"), slice_of("a", {"http": 8080}, []))
    async with Followed(double, tmp_path, link=link) as followed:
        await synced(double, followed, "demo", "a")
        before = len(followed.log)
        double.do(lambda: double.store.tick(500))
        double.bookmark()
        await asyncio.sleep(0.2)
        asked = {name: len(double.requests(resource=name)) for name in ("services", "endpointslices", "pods")}
        await asyncio.to_thread(link.cut)
        await asyncio.to_thread(link.mend)
        for name, count in asked.items():
            await followed.until(lambda name=name, count=count: len(double.requests(resource=name)) > count)  # type: ignore[misc]
            assert queries(double, name, count)[0] == ("watch", str(double.store.rv))
        told = [fact for fact in followed.log[before:] if isinstance(fact, Upsert) and isinstance(fact.key, ObjectKey)]
        assert told == []
        await followed.until(lambda: not followed.findings())


async def test_k07_everything_comes_by_one_watch_which_goes_on(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    cluster.apply(svc("a", namespace), slice_of("a", {"http": 8080}, [endpoint("a-1", "10.0.0.1")], namespace=namespace))
    async with Followed(cluster, tmp_path) as followed:
        await synced(cluster, followed, namespace, "a")
        first = next(place for place, fact in enumerate(followed.log) if isinstance(fact, Upsert) and isinstance(fact.key, ObjectKey))
        assert ("put", "a-1") in followed.about(Kind.ENDPOINT_SLICE, namespace, start=first)
        cluster.apply(svc("b", namespace))
        await synced(cluster, followed, namespace, "a", "b")
    if isinstance(cluster, Double):
        assert queries(cluster) == [("initial", "")]
        assert not cluster.requests("list")


async def test_k08_without_watch_list_it_is_a_list_and_a_watch_from_there(double: Double, tmp_path: Path) -> None:
    double.manners.watch_list = False
    double.apply(svc("a", "demo"))
    async with Followed(double, tmp_path) as followed:
        await synced(double, followed, "demo", "a")
        await followed.until(lambda: len(queries(double)) >= 3)
        assert queries(double) == [("initial", ""), ("list", ""), ("watch", str(double.store.rv))]
        double.apply(svc("b", "demo"))
        await synced(double, followed, "demo", "a", "b")


async def test_k09_what_was_seen_is_never_gone_back_on_for_a_cache_that_is_behind(double: Double, link: Link, tmp_path: Path) -> None:
    double.apply(svc("a", "demo", port=80))
    async with Followed(double, tmp_path, link=link, first_silence=0.5) as followed:
        await synced(double, followed, "demo", "a")
        await asyncio.to_thread(link.cut)
        double.restart()
        double.hold("services")
        double.apply(svc("a", "demo", port=81))
        await asyncio.to_thread(link.mend)
        await asyncio.sleep(0.5)
        assert all(query.get("resourceVersion") != "0" for query in (one.query for one in double.requests(resource="services")))
        double.release("services")
        await followed.until(lambda: followed.value(Kind.SERVICE, "a", "demo").ports[0].port == 81)
        ports = [fact.value.ports[0].port for fact in followed.log if isinstance(fact, Upsert) and fact.kind is Kind.SERVICE]
        assert ports == [80, 81]


async def test_k10_a_version_from_a_future_that_is_no_more_is_given_up(double: Double, tmp_path: Path) -> None:
    double.do(lambda: double.store.tick(5000))
    double.apply(svc("a", "demo"), svc("b", "demo"))
    async with Followed(double, tmp_path, silence=0.5, heartbeat=60.0) as followed:
        await synced(double, followed, "demo", "a", "b")
        await asyncio.to_thread(double.roll_back)
        double.apply(svc("c", "demo"))
        await followed.until(lambda: followed.services("demo") == {"c"})
        resumed = [rv for verb, rv in queries(double) if verb == "watch"]
        assert all(int(rv) > 5000 for rv in resumed[:2])
        assert len(resumed) <= 4


async def test_k11_500_without_a_reason_is_waited_for(double: Double, tmp_path: Path) -> None:
    double.apply(svc("a", "demo"))
    with double.script(Answer(500, malformed("yesterday")), resource="services", times=3):
        async with Followed(double, tmp_path) as followed:
            await followed.until(lambda: followed.resource("services").standing is Standing.FAILING)
            assert "invalid syntax" in followed.resource("services").problem
            await synced(double, followed, "demo", "a")
    assert min(gaps(double.requests(resource="services"))[:3]) >= 0.02


# -- how streams end --------------------------------------------------------------------------------------------------------------


async def test_k12_a_watch_whose_time_is_over_is_resumed_and_nothing_is_lost_or_told_twice(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with Followed(cluster, tmp_path, watch=(1, 1), short=0.2) as followed:
        await followed.until(lambda: followed.synced)
        expected = []
        for number in range(8):
            cluster.apply(svc(f"s{number}", namespace))
            expected.append(("put", f"s{number}"))
            await asyncio.sleep(0.3)
        await followed.until(lambda: len(followed.about(Kind.SERVICE, namespace)) >= 8)
        assert followed.about(Kind.SERVICE, namespace) == expected
        assert followed.status().problem == ""
    if isinstance(cluster, Double):
        verbs = [verb for verb, _ in queries(cluster)]
        assert verbs[0] == "initial"
        assert set(verbs[1:]) == {"watch"}
        assert all(query["timeoutSeconds"] == "1" for query in (one.query for one in cluster.requests("watch")))


@pytest.mark.parametrize("where", list(Where))
async def test_k13_a_watch_that_is_cut_is_resumed_where_it_was(double: Double, tmp_path: Path, where: Where) -> None:
    double.apply(svc("a", "demo"))
    async with Followed(double, tmp_path) as followed:
        await synced(double, followed, "demo", "a")
        asked = len(double.requests(resource="services"))
        double.disturb(Cut(where, after=1), "services")
        double.apply(svc("b", "demo"))
        at = double.store.rv
        double.apply(svc("c", "demo"))
        await synced(double, followed, "demo", "a", "b", "c")
        await followed.until(lambda: len(queries(double)) > asked)
        verb, rv = queries(double, since=asked)[0]
        assert verb == "watch"
        assert int(rv) >= at
        assert followed.about(Kind.SERVICE, "demo") == [("put", "a"), ("put", "b"), ("put", "c")]


async def test_k13_whatever_is_cut_again_and_again_is_asked_for_less_and_less(double: Double, tmp_path: Path) -> None:
    double.apply(svc("a", "demo"))
    with (
        double.script(Cut(Where.CHUNK), verb="watch", resource="services", times=None),
        double.script(Cut(Where.RESET), verb="list", resource="services", times=None),
    ):
        async with Followed(double, tmp_path, backoff_first=0.1, backoff_last=10.0) as followed:
            await followed.until(lambda: followed.names(Kind.NAMESPACE, "") >= {"default"})
            await asyncio.sleep(3)
            assert followed.resource("services").standing is Standing.FAILING
            waits = gaps(double.requests(resource="services"))
    assert len(waits) <= 8
    assert waits[-1] > 4 * min(waits)


async def test_k14_a_watch_that_is_silent_for_too_long_is_resumed(double: Double, tmp_path: Path) -> None:
    double.apply(svc("a", "demo"))
    async with Followed(double, tmp_path, silence=1.0) as followed:
        await synced(double, followed, "demo", "a")
        asked = len(double.requests(resource="services"))
        double.disturb(Silent(), "services")
        double.apply(svc("b", "demo"))
        await synced(double, followed, "demo", "a", "b")
        assert queries(double, since=asked)[0][0] == "watch"


@pytest.mark.parametrize("how", ["frozen", "stalled", "dead"])
async def test_k14_a_cluster_that_says_nothing_is_unreachable_keeps_what_it_had_and_comes_back(
    cluster: Cluster, link: Link, namespace: str, tmp_path: Path, how: str
) -> None:
    harm, heal = {
        "frozen": (cluster.freeze, cluster.thaw),
        "stalled": (link.stall, link.mend),
        "dead": (cluster.stop, cluster.start),
    }[how]
    cluster.apply(svc("a", namespace))
    async with Followed(cluster, tmp_path, link=link, heartbeat_answer=1.0) as followed:
        await synced(cluster, followed, namespace, "a")
        await asyncio.to_thread(harm)
        try:
            await followed.until(lambda: followed.status().state is ClusterState.UNREACHABLE)
            assert followed.services(namespace) == {"a"}
            assert ("cluster-unreachable", "Cluster east") in followed.findings()
        finally:
            await asyncio.to_thread(heal)
        cluster.apply(svc("b", namespace))
        await synced(cluster, followed, namespace, "a", "b")
        await followed.until(lambda: followed.status().state is ClusterState.SYNCED)
        await followed.until(lambda: not followed.findings())
        assert followed.about(Kind.SERVICE, namespace) == [("put", "a"), ("put", "b")]


async def test_k14_headers_that_never_come_are_waited_for_only_so_long(double: Double, tmp_path: Path) -> None:
    double.apply(svc("a", "demo"))
    with double.script(Silent(), resource="services", times=2):
        async with Followed(double, tmp_path, answer=1.0) as followed:
            await synced(double, followed, "demo", "a")
    assert all(gap >= 0.5 for gap in gaps(double.requests(resource="services"))[:2])


async def test_k14_headers_and_then_nothing_is_no_empty_cluster(double: Double, tmp_path: Path) -> None:
    double.apply(svc("a", "demo"))
    with double.script(Silent(headers=True), verb="watch", resource="services", times=1):
        async with Followed(double, tmp_path, first_silence=0.5) as followed:
            await synced(double, followed, "demo", "a")
            assert ("delete", "a") not in followed.about(Kind.SERVICE, "demo")


async def test_k15_bytes_that_come_one_by_one_come_to_the_same(double: Double, tmp_path: Path) -> None:
    double.apply(svc("a", "demo"))
    with double.script(Pieces(size=7, pause=0.0005), verb="watch", resource="services"):
        async with Followed(double, tmp_path) as followed:
            await synced(double, followed, "demo", "a")
            double.apply(svc("b", "demo"))
            await synced(double, followed, "demo", "a", "b")


async def test_k15_many_events_in_one_chunk_are_each_taken(double: Double, tmp_path: Path) -> None:
    async with Followed(double, tmp_path) as followed:
        await followed.until(lambda: followed.synced)
        double.hold("services")
        double.apply(*(svc(f"s{number}", "demo") for number in range(500)))
        double.delete("Service", "s0", "demo")
        double.release("services")
        await followed.until(lambda: len(followed.services("demo")) == 499)


async def test_k15_a_line_of_a_megabyte_is_taken_whole(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    async with Followed(cluster, tmp_path) as followed:
        await followed.until(lambda: followed.synced)
        entries = [endpoint(f"{'long-name-' * 12}{number}", f"10.1.{number // 250}.{number % 250 + 1}") for number in range(1000)]
        for entry in entries:
            entry["hints"] = {"forZones": [{"name": f"zone-{'z' * 50}-{number}"} for number in range(8)]}
        cluster.apply(slice_of("web", {"http": 8080}, entries, namespace=namespace))
        await followed.until(lambda: followed.value(Kind.ENDPOINT_SLICE, "web-1", namespace) is not None)
        assert len(followed.value(Kind.ENDPOINT_SLICE, "web-1", namespace).endpoints) == 1000


async def test_k16_a_watch_lost_for_slowness_in_a_burst_loses_no_event(double: Double, tmp_path: Path) -> None:
    double.manners.backlog, double.manners.send_buffer = 50, 4096
    entries = [endpoint(f"web-{number}", f"10.1.0.{number + 1}") for number in range(200)]
    async with Followed(double, tmp_path) as followed:
        await followed.until(lambda: followed.synced)
        asked = len(double.requests(resource="endpointslices"))

        def burst() -> None:
            for number in range(300):
                double.store.apply(slice_of(f"web{number % 10}", {"http": 8000 + number}, entries))

        double.do(burst)
        await followed.until(lambda: len(followed.names(Kind.ENDPOINT_SLICE, "demo")) == 10)
        ports = {8290 + number for number in range(10)}
        await followed.until(
            lambda: {followed.value(Kind.ENDPOINT_SLICE, f"web{number}-1", "demo").ports[0].port for number in range(10)} == ports
        )
        assert len(double.requests(resource="endpointslices")) > asked


# -- refusals ---------------------------------------------------------------------------------------------------------------------


async def test_k17_a_new_definition_whose_storage_is_not_ready_is_waited_for_as_told(double: Double, tmp_path: Path) -> None:
    async with Followed(double, tmp_path) as followed:
        await followed.until(lambda: followed.synced)
        double.apply(definition_of(ISTIO, ("v1",), "gateways", "Gateway"), gateway("g", "demo"))
        await followed.until(lambda: followed.names(Kind.GATEWAY, "demo") == {"g"})
    assert gaps(double.requests("watch", "gateways"))[0] >= 1.0


async def test_k17_retry_after_is_honoured_for_lists_and_watches(double: Double, tmp_path: Path) -> None:
    double.apply(svc("a", "demo"))
    with double.script(OVERLOAD, resource="services", times=2):
        async with Followed(double, tmp_path) as followed:
            await followed.until(lambda: followed.resource("services").standing is Standing.FAILING)
            await synced(double, followed, "demo", "a")
    assert all(gap >= 1.0 for gap in gaps(double.requests(resource="services"))[:2])


async def test_k18_errors_in_the_middle_of_pages_lose_nothing(double: Double, tmp_path: Path) -> None:
    double.manners.watch_list = False
    names = {f"s{number:03}" for number in range(250)}
    double.apply(*(svc(name, "demo") for name in sorted(names)))
    failing = Answer(500, status(500, "InternalError", "etcdserver: leader changed"))
    async with Followed(double, tmp_path) as followed:
        with double.script(Late(0.2), verb="list", resource="services"):
            await followed.until(lambda: double.requests("list", "services"))
            with double.script(failing, verb="list", resource="services", times=2):
                await followed.until(lambda: followed.synced)
        assert followed.services("demo") == names
        assert ("delete", "s000") not in followed.about(Kind.SERVICE, "demo")


async def test_k18_a_server_that_is_starting_is_asked_less_and_less_and_served_when_it_is_up(double: Double, tmp_path: Path) -> None:
    double.apply(svc("a", "demo"))
    async with Followed(double, tmp_path, backoff_first=0.1, backoff_last=2.0) as followed:
        with double.script(UNAVAILABLE, times=None):
            await asyncio.sleep(3)
            waits = gaps(double.requests(resource="services"))
            assert len(waits) <= 8
            assert len(waits) > 3
            assert all(wait >= min(0.05 * 2**failures, 1.0) for failures, wait in enumerate(waits)), waits
            assert not followed.synced
        began = time.monotonic()
        await synced(double, followed, "demo", "a")
        assert time.monotonic() - began < 10


async def test_k19_a_forbidden_resource_is_told_of_blocks_no_other_and_comes_when_it_is_granted(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    cluster.apply(svc("a", namespace), pod("a-1", "10.0.0.1", namespace=namespace))
    cluster.forbid("pods")
    try:
        await asyncio.sleep(0.5)
        async with Followed(cluster, tmp_path) as followed:
            await followed.until(lambda: followed.services(namespace) == {"a"})
            await followed.until(lambda: followed.resource("pods").standing is Standing.FORBIDDEN)
            await followed.until(lambda: followed.status().state is ClusterState.FORBIDDEN)
            await followed.until(lambda: ("resource-forbidden", "Resource east/pods") in followed.findings())
            assert 'cannot list resource "pods"' in (problem := followed.resource("pods").problem) or "cannot watch" in problem
            cluster.permit("pods")
            await followed.until(lambda: followed.names(Kind.POD, namespace) == {"a-1"})
            await followed.until(lambda: followed.synced and followed.status().state is ClusterState.SYNCED)
            await followed.until(lambda: not followed.findings())
    finally:
        cluster.permit("pods")


async def test_k20_an_expired_token_is_told_of_watches_go_on_and_a_new_kubeconfig_heals_it(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    cluster.apply(svc("a", namespace))
    async with Followed(cluster, tmp_path) as followed:
        await synced(cluster, followed, namespace, "a")
        cluster.expire()
        await followed.until(lambda: followed.status().state is ClusterState.UNAUTHORISED)
        cluster.apply(svc("b", namespace))
        await followed.until(lambda: followed.services(namespace) == {"a", "b"})
        cluster.token = cluster.issue()
        followed.login()
        await followed.until(lambda: followed.status().state is ClusterState.SYNCED)
        await followed.until(lambda: not followed.findings())
        cluster.apply(svc("c", namespace))
        await followed.until(lambda: followed.services(namespace) == {"a", "b", "c"})
        assert [kind for kind, _ in followed.about(Kind.SERVICE, namespace)] == ["put"] * 3


async def test_k21_a_definition_that_comes_goes_and_changes_its_version_is_followed(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with Followed(cluster, tmp_path) as followed:
        await followed.until(lambda: followed.synced)
        assert followed.status().state is ClusterState.SYNCED
        assert followed.resource(GATEWAYS).standing is Standing.MISSING
        cluster.apply(definition_of(ISTIO, ("v1beta1",), "gateways", "Gateway"))
        try:
            cluster.apply(gateway("one", namespace, "v1beta1"))
            await followed.until(lambda: followed.names(Kind.GATEWAY, namespace) == {"one"})
            assert followed.resource(GATEWAYS).version == "v1beta1"
            cluster.apply(definition_of(ISTIO, ("v1beta1", "v1"), "gateways", "Gateway"))
            await asyncio.sleep(0.5)
            cluster.apply(definition_of(ISTIO, ("v1beta1",), "gateways", "Gateway"))
            assert followed.names(Kind.GATEWAY, namespace) == {"one"}
            cluster.apply(definition_of(ISTIO, ("v1",), "gateways", "Gateway", unserved=("v1beta1",)))
            await followed.until(lambda: followed.resource(GATEWAYS).version == "v1")
            cluster.apply(gateway("two", namespace))
            await followed.until(lambda: followed.names(Kind.GATEWAY, namespace) == {"one", "two"})
            assert ("delete", "one") not in followed.about(Kind.GATEWAY, namespace)
        finally:
            cluster.delete("CustomResourceDefinition", GATEWAYS)
        await followed.until(lambda: followed.names(Kind.GATEWAY, namespace) == set())
        await followed.until(lambda: followed.resource(GATEWAYS).standing is Standing.MISSING)
        await followed.until(lambda: followed.status().state is ClusterState.SYNCED)


# -- what happened meanwhile ------------------------------------------------------------------------------------------------------


async def test_k22_what_was_deleted_unseen_is_deleted_once(cluster: Cluster, link: Link, namespace: str, tmp_path: Path) -> None:
    cluster.apply(svc("a", namespace), svc("b", namespace), svc("c", namespace))
    async with Followed(cluster, tmp_path, link=link) as followed:
        await synced(cluster, followed, namespace, "a", "b", "c")
        before = len(followed.log)
        await asyncio.to_thread(link.cut)
        cluster.delete("Service", "b", namespace)
        await asyncio.to_thread(cluster.restart)
        await asyncio.to_thread(link.mend)
        await followed.until(lambda: followed.services(namespace) == {"a", "c"})
        await asyncio.sleep(0.3)
        assert followed.about(Kind.SERVICE, namespace, start=before) == [("delete", "b")]


@pytest.mark.parametrize("relisted", [False, True])
async def test_k23_what_was_made_again_unseen_is_deleted_and_put(
    cluster: Cluster, link: Link, namespace: str, tmp_path: Path, relisted: bool
) -> None:
    (first,) = cluster.apply(svc("a", namespace))
    async with Followed(cluster, tmp_path, link=link) as followed:
        await synced(cluster, followed, namespace, "a")
        before = len(followed.log)
        await asyncio.to_thread(link.cut)
        cluster.delete("Service", "a", namespace)
        (second,) = cluster.apply(svc("a", namespace))
        if relisted:
            await asyncio.to_thread(cluster.restart)
        await asyncio.to_thread(link.mend)
        await followed.until(lambda: len(followed.about(Kind.SERVICE, namespace, start=before)) >= 2)
        assert followed.about(Kind.SERVICE, namespace, start=before) == [("delete", "a"), ("put", "a")]
        key = ObjectKey(CLUSTER, namespace, "a")
        origins = [fact.origin for fact in followed.log if isinstance(fact, Upsert) and fact.key == key and fact.kind is Kind.SERVICE]
        assert [origin.uid for origin in origins] == [one["metadata"]["uid"] for one in (first, second)]


async def test_k25_events_that_are_told_again_late_or_of_unknown_objects_change_nothing_that_is_true(
    double: Double, tmp_path: Path
) -> None:
    (old,) = double.apply(svc("a", "demo"))
    (new,) = double.apply(svc("a", "demo", port=81))
    async with Followed(double, tmp_path) as followed:
        await synced(double, followed, "demo", "a")
        before = len(followed.log)
        for type_, value in (("ADDED", new), ("MODIFIED", old), ("MODIFIED", new), ("DELETED", old)):
            double.tell(type_, value, "services")
        double.tell("DELETED", {**svc("never", "demo"), "metadata": {**new["metadata"], "name": "never", "uid": "other"}}, "services")
        (unknown,) = double.apply(svc("b", "demo"))
        double.tell("MODIFIED", unknown, "services")
        await synced(double, followed, "demo", "a", "b")
        await asyncio.sleep(0.2)
        assert followed.about(Kind.SERVICE, "demo", start=before) == [("put", "b")]
        assert followed.value(Kind.SERVICE, "a", "demo").ports[0].port == 81


async def test_k26_what_is_being_deleted_stands_until_it_is_gone(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    held: Any = svc("a", namespace)
    held["metadata"]["finalizers"] = ["example.test/held"]
    cluster.apply(held)
    async with Followed(cluster, tmp_path) as followed:
        await synced(cluster, followed, namespace, "a")
        cluster.delete("Service", "a", namespace)
        cluster.apply(svc("b", namespace))
        await synced(cluster, followed, namespace, "a", "b")
        held["metadata"]["finalizers"] = []
        cluster.apply(held)
        await synced(cluster, followed, namespace, "b")


async def test_k26_a_terminating_endpoint_is_seen_as_such(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    async with Followed(cluster, tmp_path) as followed:
        await followed.until(lambda: followed.synced)
        leaving = endpoint("a-1", "10.0.0.1", ready=False, namespace=namespace)
        leaving["conditions"] = {"ready": False, "serving": True, "terminating": True}
        cluster.apply(slice_of("a", {"http": 8080}, [leaving], namespace=namespace))
        await followed.until(lambda: followed.value(Kind.ENDPOINT_SLICE, "a-1", namespace))
        (seen,) = followed.value(Kind.ENDPOINT_SLICE, "a-1", namespace).endpoints
        assert seen.conditions == EndpointConditions(ready=False, serving=True, terminating=True)


async def test_of_a_slice_that_is_told_again_only_the_entry_that_changed_is_read(cluster: Cluster, client: Client, namespace: str) -> None:
    """It hangs on how a server writes."""
    entries = [endpoint(f"a-{number}", f"10.0.0.{number}", namespace=namespace) for number in range(1, 31)]
    mirror = Mirror(CLUSTER, next(resource for resource in RESOURCES if resource.kind is Kind.ENDPOINT_SLICE))
    events = mirror.events()
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    async with client.watch(path, timeoutSeconds=20) as stream:
        for number in (None, 0, 16, 29):
            if number is not None:
                entries[number] = endpoint(f"a-{number + 1}", f"10.0.0.{number + 1}", ready=False, namespace=namespace)
            cluster.apply(slice_of("a", {"http": 8080}, entries, namespace=namespace))
            read = events.read(await stream.line()).object
            assert isinstance(read, Written)
            assert len(read.endpoints or []) == (30 if number is None else 1)
            run(mirror.take([Put(read)], time.time()))
    held = mirror.value(ObjectKey(CLUSTER, namespace, "a-1"))
    assert [one.conditions.ready for one in held.endpoints] == [number not in (0, 16, 29) for number in range(30)]


@pytest.mark.parametrize("listed", [False, True])
async def test_k27_items_without_kind_and_nulls_for_lists_and_times_are_read(double: Double, tmp_path: Path, listed: bool) -> None:
    double.manners.watch_list = not listed
    double.manners.null_items = True
    double.apply(definition_of(ISTIO, ("v1",), "gateways", "Gateway"), gateway("g", "demo"), svc("a", "demo"))
    odd: Any = svc("b", "demo")
    odd["metadata"]["labels"] = odd["metadata"]["annotations"] = None
    double.apply(odd)
    double.store.get(double.store.resource_of("Service"), ("demo", "b")).value["metadata"]["creationTimestamp"] = None  # type: ignore[union-attr]
    async with Followed(double, tmp_path) as followed:
        await synced(double, followed, "demo", "a", "b")
        assert followed.names(Kind.GATEWAY, "demo") == {"g"}
        assert followed.names(Kind.POD, "demo") == set()
        assert not followed.findings()


async def test_k28_a_list_that_comes_packed_is_read(double: Double, tmp_path: Path) -> None:
    double.manners.watch_list = False
    entries = [endpoint(f"web-{number}", f"10.1.0.{number + 1}") for number in range(200)]
    double.apply(*(slice_of("web", {"http": 8080}, entries, suffix=str(number)) for number in range(20)))
    async with Followed(double, tmp_path) as followed:
        await followed.until(lambda: followed.synced)
        assert len(followed.names(Kind.ENDPOINT_SLICE, "demo")) == 20
    assert double.server.packed == 1


async def test_k29_kinds_that_lag_behind_are_waited_for_at_first_and_not_afterwards(double: Double, tmp_path: Path) -> None:
    double.apply(svc("a", "demo"))
    double.hold("endpointslices")
    double.apply(slice_of("a", {"http": 8080}, [endpoint("a-1", "10.0.0.1")]))
    async with Followed(double, tmp_path, patience=20.0) as followed:
        await asyncio.sleep(1)
        assert followed.objects() == {}
        double.release("endpointslices")
        await followed.until(lambda: followed.synced)
        puts = [fact.kind for fact in followed.log if isinstance(fact, Upsert)]
        assert {Kind.SERVICE, Kind.ENDPOINT_SLICE} <= set(puts)
        double.hold("endpointslices")
        double.apply(slice_of("b", {"http": 8080}, []), svc("b", "demo"), pod("b-1", "10.0.0.2"))
        await followed.until(lambda: followed.services("demo") == {"a", "b"} and followed.names(Kind.POD, "demo") == {"b-1"})
        assert followed.names(Kind.ENDPOINT_SLICE, "demo") == {"a-1"}
        double.release("endpointslices")
        await followed.until(lambda: followed.names(Kind.ENDPOINT_SLICE, "demo") == {"a-1", "b-1"})


async def test_k30_another_cluster_behind_the_same_address_is_noticed_and_read_anew(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """Its resourceVersions begin anew, so that what was known of the old one's would be waited for in vain."""
    if isinstance(cluster, Double):
        cluster.do(lambda: cluster.store.tick(5000))
    cluster.apply(svc("a", namespace), svc("b", namespace))
    async with Followed(cluster, tmp_path) as followed:
        await synced(cluster, followed, namespace, "a", "b")
        before, uid = len(followed.log), followed.status().uid
        await asyncio.to_thread(cluster.replace, authority=False)
        cluster.apply(svc("b", namespace), svc("c", namespace))
        followed.login()
        await followed.until(lambda: followed.services(namespace) == {"b", "c"})
        assert followed.about(Kind.SERVICE, namespace, start=before).count(("delete", "b")) == 1
        await followed.until(lambda: followed.status().uid not in ("", uid))
        await followed.until(lambda: followed.status().state is ClusterState.SYNCED)
        assert followed.objects() == await fresh(cluster, tmp_path / "fresh")


async def test_two_clusters_behind_one_api_are_reported(cluster: Cluster, tmp_path: Path) -> None:
    """By `doctor`, which reads each of them as a server does. Whose API it is, kube-system's uid tells."""
    (tmp_path / "api").write_text(yaml.safe_dump(cluster.kubeconfig()))
    named = [{"name": name, "kubernetes": {"kubeconfig": "api"}} for name in ("east", "west")]
    (tmp_path / "steersman.yaml").write_text(yaml.safe_dump({"clusters": named}))
    ran = await inline("doctor", "-c", str(tmp_path / "steersman.yaml"), "-o", "json")
    assert (ran.code, ran.err) == (1, "")
    (finding,) = [one for one in json.loads(ran.out) if one["id"] == "cluster-twice"]
    assert finding["object"] == "Cluster west"
    assert "the same cluster as east" in finding["cause"]


async def test_k30_another_authority_is_not_trusted_until_the_kubeconfig_names_it(double: Double, tmp_path: Path) -> None:
    double.apply(svc("a", "demo"))
    async with Followed(double, tmp_path) as followed:
        await synced(double, followed, "demo", "a")
        await asyncio.to_thread(double.replace)
        double.apply(svc("b", "demo"))
        await followed.until(lambda: followed.status().state is ClusterState.UNREACHABLE)
        assert "certificate" in followed.status().problem
        assert followed.services("demo") == {"a"}
        followed.login()
        await synced(double, followed, "demo", "b")
        await followed.until(lambda: followed.status().state is ClusterState.SYNCED)
