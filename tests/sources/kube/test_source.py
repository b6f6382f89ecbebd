"""A cluster's API followed through a socket: what is told first, what changes, what goes wrong and heals."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from steersman.errors import SourceError
from steersman.model.clusters import ClusterState, OutagePolicy
from steersman.model.facts import Delete, Synced, Upsert
from steersman.model.ids import ClusterID, ObjectKey
from steersman.model.objects import Kind
from steersman.settings import OutageSettings
from steersman.sources.contents import Steps
from steersman.sources.kube import follower
from steersman.sources.kube.credentials import KubeconfigFile
from steersman.sources.kube.pages import Page, page_in_steps
from steersman.sources.kube.reflector import Standing
from steersman.sources.kube.source import KubeSource
from steersman.sources.kube.timing import Timing
from tests.sources.listening import Listener, polled, running
from tests.support import objects
from tests.support.apiserver.double import Double
from tests.support.apiserver.faults import Answer, Late, Silent
from tests.support.apiserver.kinds import definition_of

EAST = ClusterID("east")
TIMING = Timing(
    connect=2.0,
    answer=5.0,
    first_silence=2.0,
    silence=5.0,
    short=0.1,
    backoff_first=0.05,
    backoff_last=0.5,
    missing=0.3,
    heartbeat=0.3,
    heartbeat_answer=1.0,
    heartbeat_failed=0.2,
    renewal=0.05,
    patience=15.0,
    grace=0.2,
    tick=0.05,
)
ISTIO = "networking.istio.io"


@pytest.fixture
def kubeconfig(double: Double, tmp_path: Path) -> Path:
    return written(tmp_path / "east.kubeconfig", double)


def written(path: Path, double: Double, **user: Any) -> Path:
    path.write_text(json.dumps(double.kubeconfig(**user)))
    return path


def source_of(path: Path, timing: Timing = TIMING, outage: OutageSettings | None = None, timeout: float = 20.0) -> KubeSource:
    return KubeSource(EAST, KubeconfigFile(path), outage=outage, timeout=timeout, timing=timing)


@asynccontextmanager
async def followed(source: KubeSource) -> AsyncIterator[Listener]:
    """The cluster is followed, and was told whole."""
    async with running(source.run) as heard:
        await heard.until(lambda: heard.synced)
        yield heard


def reviews(*pods: tuple[str, str]) -> list[objects.Object]:
    listed = [objects.endpoint(name, ip) for name, ip in pods]
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": objects.NAMESPACE}},
        objects.service("reviews", {"http": (80, 8080)}, ip="10.96.0.1"),
        objects.slice_of("reviews", {"http": 8080}, listed),
        *(objects.pod(name, ip) for name, ip in pods),
        objects.node("n1", "r", "z"),
    ]


def state_of(heard: Listener) -> ClusterState:
    state: ClusterState = heard.values[Kind.CLUSTER_STATE, EAST].state
    return state


def standings(source: KubeSource) -> dict[str, Standing]:
    return {resource.name.partition(".")[0]: resource.standing for resource in source.status().resources}


def of_kinds(facts: Iterable[Any]) -> list[str]:
    return [str(fact.kind) for fact in facts if isinstance(fact, Upsert | Delete) and isinstance(fact.key, ObjectKey)]


# -- what is told -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("watch_list", [True, False])
async def test_all_that_a_cluster_has_comes_first_and_at_once(double: Double, kubeconfig: Path, watch_list: bool) -> None:
    double.manners.watch_list = watch_list
    stored = double.apply(*reviews(("reviews-1", "10.0.0.1")))
    async with followed(source_of(kubeconfig)) as heard:
        told = [batch for batch in heard.batches if of_kinds(batch)]
        assert len(told) == 1
        assert {"Namespace", "Node", "Service", "EndpointSlice", "Pod"} == set(of_kinds(told[0]))
        everything = [fact for batch in heard.batches for fact in batch]
        # With them, or when the heartbeat is back.
        synced = next(place for place, fact in enumerate(everything) if isinstance(fact, Synced))
        assert of_kinds(everything[synced:]) == []
        (metadata,) = [one["metadata"] for one in stored if one["kind"] == "Pod"]
        origin = heard.origins[Kind.POD, ObjectKey(EAST, objects.NAMESPACE, "reviews-1")]
        assert (origin.source, origin.uid, origin.resource_version) == ("east", metadata["uid"], metadata["resourceVersion"])
        assert state_of(heard) is ClusterState.SYNCED
        assert heard.finding_ids() == []
    assert (len(double.requests("list")) > 0) is not watch_list


async def test_a_list_that_comes_whole_is_taken_in_steps(double: Double, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[int] = []

    def counted(body: bytes) -> Steps[Page | bytes]:
        found = yield from page_in_steps(body)
        if isinstance(found, Page):
            cut.append(len(found.items))
        return found

    monkeypatch.setattr(follower, "page_in_steps", counted)
    monkeypatch.setattr(follower, "AT_ONCE", 0)
    double.manners.watch_list = False
    double.apply(*reviews(("reviews-1", "10.0.0.1"), ("reviews-2", "10.0.0.2")))
    async with followed(source_of(kubeconfig)) as heard:
        assert {key.name for kind, key in heard.values if kind is Kind.POD} == {"reviews-1", "reviews-2"}
        assert 2 in cut


async def test_a_cluster_is_synced_when_it_is_known_whose_it_is(double: Double, kubeconfig: Path) -> None:
    """However late that is: who reads it once would not notice that two clusters are one."""
    with double.script(Late(0.5), verb="get"):
        async with running(source_of(kubeconfig).run) as heard:
            await heard.until(lambda: heard.synced)
            assert heard.values[Kind.CLUSTER_STATE, EAST].uid
    with double.script(Answer(503, b"not now", "text/plain"), verb="get"):
        async with running(source_of(kubeconfig).run) as heard:
            await heard.until(lambda: heard.synced)


async def test_what_changes_is_told_as_it_comes(double: Double, kubeconfig: Path) -> None:
    double.apply(*reviews(("reviews-1", "10.0.0.1")))
    async with followed(source_of(kubeconfig)) as heard:
        double.apply(objects.pod("reviews-2", "10.0.0.2"))
        await heard.until(lambda: heard.names(Kind.POD) == ["reviews-1", "reviews-2"])
        double.delete("Pod", "reviews-1", objects.NAMESPACE)
        await heard.until(lambda: heard.names(Kind.POD) == ["reviews-2"])


async def test_gateways_are_followed_from_the_moment_they_are_defined_to_their_end(double: Double, kubeconfig: Path) -> None:
    source = source_of(kubeconfig)
    async with followed(source) as heard:
        assert standings(source)["gateways"] is Standing.MISSING
        assert state_of(heard) is ClusterState.SYNCED
        double.apply(definition_of(ISTIO, ("v1beta1", "v1"), "gateways", "Gateway"), objects.passthrough("10.0.0.9", 15443))
        await heard.until(lambda: heard.names(Kind.GATEWAY) == ["cross-network"])
        double.apply(definition_of(ISTIO, ("v1beta1",), "gateways", "Gateway"))
        double.apply(
            {**objects.passthrough("10.0.0.9", 15443), "apiVersion": f"{ISTIO}/v1beta1", "metadata": {"name": "b", "namespace": "c"}}
        )
        await heard.until(lambda: heard.names(Kind.GATEWAY) == ["b", "cross-network"])
        assert source.status().resources[-1].version == "v1beta1"
        double.delete("CustomResourceDefinition", f"gateways.{ISTIO}")
        await heard.until(lambda: heard.names(Kind.GATEWAY) == [])
        assert state_of(heard) is ClusterState.SYNCED


async def test_first_facts_wait_for_a_slow_resource_but_not_for_one_that_fails(double: Double, kubeconfig: Path) -> None:
    double.apply(*reviews(("reviews-1", "10.0.0.1")))
    with double.script(Late(1.0), "watch", "endpointslices", None):
        async with running(source_of(kubeconfig).run) as heard:
            await heard.until(lambda: heard.names(Kind.SERVICE))
            assert heard.names(Kind.ENDPOINT_SLICE) == ["reviews-1"]
    with double.script(Answer(500), None, "endpointslices", None):
        async with running(source_of(kubeconfig, replace(TIMING, patience=0.5)).run) as heard:
            await heard.until(lambda: heard.names(Kind.SERVICE))
            assert heard.synced == []


# -- what goes wrong ----------------------------------------------------------------------------------------------------------


async def test_a_killed_server_is_unreachable_and_what_was_deleted_meanwhile_is_gone_afterwards(double: Double, kubeconfig: Path) -> None:
    double.apply(*reviews(("reviews-1", "10.0.0.1"), ("reviews-2", "10.0.0.2")))
    async with followed(source_of(kubeconfig)) as heard:
        double.stop()
        await heard.until(lambda: state_of(heard) is ClusterState.UNREACHABLE)
        assert heard.names(Kind.POD) == ["reviews-1", "reviews-2"]
        assert heard.finding_ids() == ["cluster-unreachable"]
        double.delete("Pod", "reviews-1", objects.NAMESPACE)
        double.compact()
        double.start()
        await heard.until(lambda: heard.names(Kind.POD) == ["reviews-2"])
        await heard.until(lambda: state_of(heard) is ClusterState.SYNCED)
        assert heard.finding_ids() == []


async def test_a_server_that_falls_silent_is_noticed_by_its_heartbeat(double: Double, kubeconfig: Path) -> None:
    double.apply(*reviews(("reviews-1", "10.0.0.1")))
    async with followed(source_of(kubeconfig, replace(TIMING, silence=600.0))) as heard:
        double.freeze()
        await heard.until(lambda: state_of(heard) is ClusterState.UNREACHABLE)
        double.thaw()
        double.apply(objects.pod("reviews-2", "10.0.0.2"))
        await heard.until(lambda: heard.names(Kind.POD) == ["reviews-1", "reviews-2"])
        await heard.until(lambda: state_of(heard) is ClusterState.SYNCED)


async def test_one_watch_that_is_half_open_is_resumed(double: Double, kubeconfig: Path) -> None:
    double.apply(*reviews(("reviews-1", "10.0.0.1")))
    async with followed(source_of(kubeconfig, replace(TIMING, silence=0.5))) as heard:
        assert double.disturb(Silent(), "pods") == 1
        double.apply(objects.pod("reviews-2", "10.0.0.2"))
        await heard.until(lambda: heard.names(Kind.POD) == ["reviews-1", "reviews-2"])


async def test_a_token_that_expired_is_read_again_from_its_file(double: Double, kubeconfig: Path) -> None:
    double.apply(*reviews(("reviews-1", "10.0.0.1")))
    async with followed(source_of(kubeconfig)) as heard:
        double.expire()
        await heard.until(lambda: state_of(heard) is ClusterState.UNAUTHORISED)
        assert heard.names(Kind.POD) == ["reviews-1"]
        assert heard.finding_ids() == ["cluster-unauthorised"]
        written(kubeconfig, double, token=double.issue())
        await heard.until(lambda: state_of(heard) is ClusterState.SYNCED)
        double.apply(objects.pod("reviews-2", "10.0.0.2"))
        await heard.until(lambda: heard.names(Kind.POD) == ["reviews-1", "reviews-2"])


async def test_a_token_that_is_replaced_in_time_is_never_missed(double: Double, kubeconfig: Path) -> None:
    double.apply(*reviews())
    async with followed(source_of(kubeconfig)) as heard:
        await heard.until(lambda: heard.values[Kind.CLUSTER_STATE, EAST].uid)
        before = len(heard.batches)
        fresh = double.issue()
        double.do(lambda: double.access.tokens.__setitem__(fresh, "second"))
        written(kubeconfig, double, token=fresh)
        watched = {one.resource for one in double.requests(verb="watch")}
        await polled(lambda: {one.resource for one in double.requests(verb="watch") if one.user == "second"} == watched)
        double.do(lambda: [double.access.tokens.pop(token) for token in list(double.access.tokens) if token != fresh])
        await asyncio.sleep(0.8)
        assert state_of(heard) is ClusterState.SYNCED
        assert len(heard.batches) == before


async def test_what_is_forbidden_costs_itself_and_says_which_rule_is_missing(double: Double, kubeconfig: Path) -> None:
    double.apply(*reviews(("reviews-1", "10.0.0.1")))
    double.forbid("nodes")
    double.forbid("gateways")
    source = source_of(kubeconfig, replace(TIMING, patience=0.5))
    async with running(source.run) as heard:
        await heard.until(lambda: heard.names(Kind.POD) and heard.finding_ids() == ["resource-forbidden"])
        (finding,) = heard.findings()
        assert finding.object == "Resource east/nodes"
        assert '{apiGroups: [""], resources: ["nodes"], verbs: ["list", "watch"]}' in finding.remedy
        await heard.until(lambda: state_of(heard) is ClusterState.FORBIDDEN)
        assert heard.synced == []  # what every cluster has is waited for as long as a cluster is
        double.permit("nodes")
        await heard.until(lambda: heard.synced and heard.names(Kind.NODE) == ["n1"])
        assert (state_of(heard), heard.finding_ids()) == (ClusterState.SYNCED, [])


async def test_a_permission_that_is_revoked_leaves_what_was_told(double: Double, kubeconfig: Path) -> None:
    double.apply(*reviews(("reviews-1", "10.0.0.1")))
    async with followed(source_of(kubeconfig)) as heard:
        double.forbid("endpointslices")
        double.restart()
        await heard.until(lambda: state_of(heard) is ClusterState.FORBIDDEN)
        assert heard.names(Kind.ENDPOINT_SLICE) == ["reviews-1"]
        double.apply(objects.pod("reviews-2", "10.0.0.2"))
        await heard.until(lambda: heard.names(Kind.POD) == ["reviews-1", "reviews-2"])


async def test_another_cluster_behind_the_same_address_is_noticed_and_read_afresh(double: Double, kubeconfig: Path) -> None:
    double.apply(*reviews(("reviews-1", "10.0.0.1")))
    async with followed(source_of(kubeconfig)) as heard:
        uid = heard.values[Kind.CLUSTER_STATE, EAST].uid
        double.replace()
        double.apply(*reviews(("reviews-9", "10.0.0.9")))
        await heard.until(lambda: state_of(heard) is ClusterState.UNREACHABLE)  # its CA is another one
        assert "certificate" in heard.findings()[0].cause
        written(kubeconfig, double)
        await heard.until(lambda: heard.names(Kind.POD) == ["reviews-9"])
        await heard.until(lambda: state_of(heard) is ClusterState.SYNCED)
        assert heard.values[Kind.CLUSTER_STATE, EAST].uid not in ("", uid)


async def test_a_heartbeat_needs_no_permission(double: Double, kubeconfig: Path) -> None:
    double.forbid("namespaces", "get")
    source = source_of(kubeconfig)
    async with followed(source) as heard:
        await asyncio.sleep(0.8)
        assert (state_of(heard), source.status().uid) == (ClusterState.SYNCED, "")


# -- outages ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [OutagePolicy.DEMOTE, OutagePolicy.DROP])
async def test_after_its_time_the_outage_policy_holds_until_the_cluster_is_back(
    double: Double, kubeconfig: Path, policy: OutagePolicy
) -> None:
    def outage() -> OutagePolicy:
        found: OutagePolicy = heard.values[Kind.CLUSTER_STATE, EAST].outage
        return found

    source = source_of(kubeconfig, outage=OutageSettings(policy=policy, after=1.5))
    async with followed(source) as heard:
        double.stop()
        await heard.until(lambda: state_of(heard) is ClusterState.UNREACHABLE)
        contact = source.status().contact
        assert outage() is OutagePolicy.KEEP
        await heard.until(lambda: outage() is policy)
        assert source.status().contact == contact
        assert heard.origins[Kind.CLUSTER_STATE, EAST].seen - contact >= 1.5
        double.start()
        await heard.until(lambda: outage() is OutagePolicy.KEEP)
        assert source.status().contact > contact


async def test_an_outage_that_is_over_does_not_begin_again_while_its_end_is_doubted(double: Double, kubeconfig: Path) -> None:
    """Not even where `after` is shorter than a quiet cluster is silent for."""
    timing = replace(TIMING, heartbeat=10.0, grace=0.8)
    source = source_of(kubeconfig, timing, outage=OutageSettings(policy=OutagePolicy.DROP, after=0.2))
    async with followed(source) as heard:
        double.stop()
        await heard.until(lambda: heard.values[Kind.CLUSTER_STATE, EAST].outage is OutagePolicy.DROP)
        double.start()
        await heard.until(lambda: state_of(heard) is ClusterState.SYNCED)
        told = [fact.value for facts in heard.batches for fact in facts if isinstance(fact, Upsert) and fact.kind is Kind.CLUSTER_STATE]
        assert [outage for outage, _ in itertools.groupby(told, lambda health: health.outage)] == [
            OutagePolicy.KEEP,
            OutagePolicy.DROP,
            OutagePolicy.KEEP,
        ]


async def test_a_cluster_that_was_never_reached_is_told_to_be_unreachable(double: Double, kubeconfig: Path) -> None:
    double.stop()
    async with running(source_of(kubeconfig).run) as heard:
        await heard.until(lambda: heard.finding_ids() == ["cluster-unreachable"])
        double.start()
        await heard.until(lambda: heard.synced and heard.finding_ids() == [])


def config(cluster: str, context: str = "{cluster: k}", users: str = "[]") -> str:
    return (
        f"{{current-context: c, contexts: [{{name: c, context: {context}}}], clusters: [{{name: k, cluster: {cluster}}}], users: {users}}}"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [", "it is no YAML"),
        ("[]", "expected a kubeconfig, a mapping"),
        ("{current-context: c}", "it has no context 'c'; there are: it has no contexts"),
        ("{contexts: [{name: c, context: {}}]}", "it names no current-context; choose one: c"),
        (config("{}"), "server ''; expected a URL"),
        (config("{server: 'https://x'}", "{cluster: k, user: u}"), "it has no user 'u'"),
        (config("{server: 'https://x', certificate-authority: missing.pem}"), "missing.pem"),
        (config("{server: 'https://x', certificate-authority-data: '!secret!'}"), "its credentials can't be used"),
        (config("{server: 'https://x'}", "{cluster: k, user: u}", "[{name: u, user: {token: {a: '!secret!'}}}]"), "token: expected a text"),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_says_where_and_no_secret(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "east.kubeconfig"
    path.write_text(text)
    heard = Listener()
    with pytest.raises(SourceError) as raised:
        await source_of(path).run(heard.emit)
    assert str(path) in str(raised.value)
    assert expected in str(raised.value)
    assert "!secret!" not in str(raised.value)
    assert state_of(heard) is ClusterState.UNAUTHORISED
