"""Secrets with kubeconfigs, and clusters whose credentials are rotated, through the product's own sources over a socket."""

import asyncio
import base64
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from steersman.model.clusters import ClusterState
from steersman.model.facts import Fact
from steersman.model.ids import ClusterID
from steersman.model.objects import Kind
from steersman.settings import Allowed
from steersman.sources.kube.credentials import KubeconfigFile, RegisteredAccess
from steersman.sources.kube.kubeconfig import restricted
from steersman.sources.kube.reflector import Standing
from steersman.sources.kube.registrations import Claim, Registration
from steersman.sources.kube.source import KubeSource
from steersman.sources.kube.timing import Timing
from tests.kube.test_client import svc
from tests.support.apiserver.client import Cluster
from tests.support.apiserver.double import Double, kubeconfig
from tests.support.apiserver.faults import Answer
from tests.support.apiserver.following import CLUSTER, QUICK, Followed, fresh
from tests.support.apiserver.kinds import Object
from tests.support.objects import endpoint, slice_of
from tests.support.running import free_port

LABELS = {"istio/multiCluster": "true"}
SECRET = "s3cr3t"


def secret(name: str, namespace: str, labels: dict[str, str] | None = None, **data: bytes) -> Object:
    metadata = {"name": name, "namespace": namespace, "labels": LABELS if labels is None else labels}
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": encoded}


def version(value: bytes) -> str:
    """Of a claim with this value."""
    return blake2b(value, digest_size=16).hexdigest()


class Holder(Followed):
    """A cluster that holds Secrets. `claims`: the versions of what they say, by (name of the Secret, key); None at first."""

    def __init__(self, cluster: Cluster, directory: Path, namespace: str) -> None:
        super().__init__(cluster, directory)
        self.claims: dict[tuple[str, str], str] | None = None
        self.told_first = True
        self.source = KubeSource(CLUSTER, KubeconfigFile(self._file), timing=Timing(**QUICK), secrets=namespace, claimed=self._claimed)

    def _claimed(self, holder: ClusterID, claims: Sequence[Claim]) -> None:
        assert holder == CLUSTER
        self.told_first = self.told_first and (self.claims is not None or not self.synced)
        self.claims = {(one.order[4], one.cluster): one.version for one in claims}


async def test_secrets_with_the_label_in_the_namespace_are_claims_and_no_facts(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    cluster.apply(
        secret("a", namespace, west=b"1", north=b"2"), secret("other", namespace, {}, west=b"x"), secret("a", "default", west=b"x")
    )
    async with Holder(cluster, tmp_path, namespace) as holder:
        await holder.until(lambda: holder.synced)
        assert holder.claims == {("a", "west"): version(b"1"), ("a", "north"): version(b"2")}
        assert holder.told_first, "claims are there before the cluster counts as synced"
        cluster.apply(secret("b", namespace, south=b"3"))
        await holder.until(lambda: ("b", "south") in (holder.claims or {}))
        cluster.apply(secret("a", namespace, west=b"4"))
        await holder.until(lambda: holder.claims == {("a", "west"): version(b"4"), ("b", "south"): version(b"3")})
        cluster.apply(secret("b", namespace, {}, south=b"3"))
        await holder.until(lambda: holder.claims == {("a", "west"): version(b"4")})
        cluster.delete("Secret", "a", namespace)
        await holder.until(lambda: holder.claims == {})
        cluster.apply(secret("c", namespace, west=b"\xff\x00"))
        await holder.until(lambda: holder.claims == {("c", "west"): version(b"\xff\x00")})
        assert {kind for kind, _ in holder.state} <= {Kind.NAMESPACE, Kind.SERVICE, Kind.ENDPOINT_SLICE, Kind.CLUSTER_STATE}


async def test_a_secret_deleted_unseen_is_gone_and_an_outage_takes_none_away(double: Double, namespace: str, tmp_path: Path) -> None:
    double.apply(secret("a", namespace, west=b"1"), secret("b", namespace, north=b"2"))
    async with Holder(double, tmp_path, namespace) as holder:
        await holder.until(lambda: holder.synced)
        double.stop()
        await holder.until(lambda: holder.status().state is ClusterState.UNREACHABLE)
        assert set(holder.claims or {}) == {("a", "west"), ("b", "north")}
        double.delete("Secret", "a", namespace)
        double.compact()
        double.start()
        await holder.until(lambda: set(holder.claims or {}) == {("b", "north")})


async def test_secrets_that_may_not_be_read_are_told_with_the_missing_rule(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    cluster.apply(secret("a", namespace, west=b"1"))
    cluster.forbid("secrets")
    try:
        async with Holder(cluster, tmp_path, namespace) as holder:
            await holder.until(lambda: holder.synced)
            assert holder.claims is None
            assert holder.resource("secrets").standing is Standing.FORBIDDEN
            (finding,) = [one for (kind, key), one in holder.state.items() if kind is Kind.FINDING and key.id == "resource-forbidden"]
            assert f"to a Role in its namespace {namespace}" in finding.remedy
            assert 'resources: ["secrets"], verbs: ["list", "watch"]' in finding.remedy
            cluster.permit("secrets")
            await holder.until(lambda: holder.claims == {("a", "west"): version(b"1")})
    finally:
        cluster.permit("secrets")


async def test_an_answer_with_a_secret_in_it_that_cannot_be_read_is_not_repeated(double: Double, namespace: str, tmp_path: Path) -> None:
    broken = Answer(200, f'{{"data":{{"west":"{SECRET}"}},'.encode())
    with double.script(broken, resource="secrets", times=None):
        async with Holder(double, tmp_path, namespace) as holder:
            await holder.until(lambda: holder.resource("secrets").standing is Standing.FAILING)
            assert SECRET not in repr((holder.status(), holder.log))


# -- rotation ---------------------------------------------------------------------------------------------------------------------


def registration(config: Object, owner: str = "first", version: str = "") -> Registration:
    """Of a Secret that holds this kubeconfig."""
    read = restricted(json.dumps(config).encode(), Allowed())
    return Registration(cluster=CLUSTER, place=f"Secret {owner}", owner=(owner,), version=version or json.dumps(config), kubeconfig=read)


class Rotated(Followed):
    """A cluster that is registered. `seen`: the services of the namespace after each batch of facts."""

    def __init__(self, cluster: Cluster, directory: Path, namespace: str, first: Object | None = None) -> None:
        super().__init__(cluster, directory)
        self.access = RegisteredAccess(registration(first or cluster.kubeconfig()))
        self.source = KubeSource(CLUSTER, self.access, timing=Timing(**{**QUICK, "heartbeat": 20.0}))
        self.namespace = namespace
        self.seen: list[set[str]] = []

    def rotate(self, config: Object, owner: str = "first") -> None:
        self.access.replace(registration(config, owner))
        self.source.hurry()

    def _emit(self, facts: Sequence[Fact]) -> None:
        super()._emit(facts)
        self.seen.append(self.services(self.namespace))

    def unused(self) -> bool:
        return any(kind is Kind.FINDING and key.id == "cluster-credentials-unused" for kind, key in self.state)


@contextmanager
def changing(cluster: Cluster, namespace: str) -> Iterator[list[int]]:
    """An endpoint's address is changed as often as the server takes it; how often so far."""
    stop, count = threading.Event(), [0]

    def change() -> None:
        while not stop.is_set():
            count[0] += 1
            address = f"10.0.{count[0] % 250}.{1 + count[0] // 250 % 250}"
            cluster.apply(slice_of("a", {"http": 8080}, [endpoint("a-1", address)], namespace=namespace))

    writer = threading.Thread(target=change)
    writer.start()
    try:
        yield count
    finally:
        stop.set()
        writer.join()


async def test_a_rotation_under_load_loses_nothing(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    names = {f"s{number}" for number in range(20)}
    cluster.apply(*(svc(name, namespace) for name in sorted(names)), slice_of("a", {"http": 8080}, [], namespace=namespace))
    async with Rotated(cluster, tmp_path, namespace) as followed:
        await followed.until(lambda: followed.synced and followed.services(namespace) == names)
        start = len(followed.seen)
        with changing(cluster, namespace) as count:
            for _ in range(4):
                followed.rotate(cluster.kubeconfig(await asyncio.to_thread(cluster.issue)))
                changed, place = count[0], len(followed.log)
                await followed.until(lambda: not followed.access.changed() and not followed.source.status().unused)
                await followed.until(lambda: count[0] > changed + 3 and len(followed.log) > place + 3)  # noqa: B023 - in this round
        assert all(seen == names for seen in followed.seen[start:])
        assert not [told for told in followed.about(Kind.ENDPOINT_SLICE, namespace) if told[0] == "delete"]
        assert not [told for told in followed.about(Kind.SERVICE, namespace) if told[0] == "delete"]
        assert followed.status().state is ClusterState.SYNCED
        await followed.until(lambda: not followed.findings())
        expected = await fresh(cluster, tmp_path / "fresh")
        await followed.until(lambda: followed.objects() == expected)


async def test_after_a_rotation_nothing_is_asked_under_the_old_credentials(double: Double, namespace: str, tmp_path: Path) -> None:
    async with Rotated(double, tmp_path, namespace) as followed:
        await followed.until(lambda: followed.synced)
        token = double.issue()
        double.do(lambda: double.access.tokens.__setitem__(token, "second"))
        followed.rotate(double.kubeconfig(token))
        watched = {one.resource for one in double.requests(verb="watch")}
        await followed.until(lambda: {one.resource for one in double.requests(verb="watch") if one.user == "second"} == watched)
        await followed.until(lambda: len(double.server.watches) == len(watched))
        place = next(number for number, one in enumerate(double.requests()) if one.verb == "watch" and one.user == "second")
        assert {one.user for one in double.requests()[place:]} == {"second"}
        assert "initial" not in [one.query.get("sendInitialEvents", "") for one in double.requests()[place:]], "watches are resumed"


@pytest.mark.parametrize("why", ["token", "authority", "address", "overload", "another API"])
async def test_credentials_that_are_of_no_use_cost_nothing_but_a_finding(double: Double, namespace: str, tmp_path: Path, why: str) -> None:
    double.apply(svc("a", namespace))
    good = double.kubeconfig()
    with Double() as other:
        other.do(other.access.tokens.clear)
        bad, told = {
            "token": (double.kubeconfig("nobody's"), "401"),
            "authority": (kubeconfig(double.url, other.ca.data, double.token, "x"), "not trusted"),
            "address": (kubeconfig(f"https://127.0.0.1:{free_port('127.0.0.1')}", double.ca.data, double.token, "x"), "no connection"),
            "overload": (double.kubeconfig(double.issue()), "503"),
            "another API": (other.kubeconfig(), "401"),
        }[why]
        async with Rotated(double, tmp_path, namespace) as followed:
            await followed.until(lambda: followed.synced)
            unavailable = Answer(503, b"later")
            with double.script(unavailable, verb="get", times=None if why == "overload" else 0):
                followed.rotate(bad)
                await followed.until(followed.unused)
                assert told in followed.status().unused
                double.apply(svc("b", namespace))
                await followed.until(lambda: followed.services(namespace) == {"a", "b"})
                assert followed.resource("services").standing is Standing.SYNCED
                if why != "overload":
                    assert followed.status().state is ClusterState.SYNCED
            if why != "overload":
                followed.rotate(good)

            def used() -> bool:
                followed.source.hurry()
                return not followed.unused()

            await followed.until(used)
            assert followed.about(Kind.SERVICE, namespace) == [("put", "a"), ("put", "b")]
            assert followed.status().unused == ""
            assert double.token not in repr(followed.log)


async def test_credentials_that_lead_to_another_cluster_bring_its_objects_and_none_is_missing_meanwhile(
    double: Double, namespace: str, tmp_path: Path
) -> None:
    double.apply(svc("both", namespace), svc("old", namespace))
    with Double() as other:
        other.apply(svc("both", namespace), svc("new", namespace))
        async with Rotated(double, tmp_path, namespace) as followed:
            await followed.until(lambda: followed.synced)
            start, uid = len(followed.seen), followed.status().uid
            followed.rotate(other.kubeconfig())
            await followed.until(lambda: followed.services(namespace) == {"both", "new"})
            assert all("both" in seen for seen in followed.seen[start:])
            assert followed.status().uid != uid
            assert followed.status().server == other.url
            double.apply(svc("late", namespace))
            other.apply(svc("later", namespace))
            await followed.until(lambda: followed.services(namespace) == {"both", "new", "later"})
            await followed.until(lambda: not double.server.watches)


async def test_credentials_of_an_owner_that_is_gone_are_let_go_whatever_becomes_of_the_next(
    double: Double, namespace: str, tmp_path: Path
) -> None:
    double.apply(svc("a", namespace))
    async with Rotated(double, tmp_path, namespace) as followed:
        await followed.until(lambda: followed.synced)
        followed.rotate(double.kubeconfig("nobody's"), "second")
        await followed.until(lambda: not double.server.watches)
        await followed.until(lambda: followed.status().state is ClusterState.UNAUTHORISED)
        assert followed.services(namespace) == {"a"}, "what was told stands"
        asked = len(double.requests())
        followed.source.hurry()
        await followed.until(lambda: len(double.requests()) > asked + 3)
        assert {one.user for one in double.requests()[asked:]} == {""}
        followed.rotate(double.kubeconfig(), "second")
        await followed.until(lambda: followed.status().state is ClusterState.SYNCED)
        assert followed.about(Kind.SERVICE, namespace) == [("put", "a")]


async def test_credentials_that_cannot_be_made_at_all_are_told_of(double: Double, namespace: str, tmp_path: Path) -> None:
    broken: Any = double.kubeconfig()
    broken["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode(SECRET.encode()).decode()
    async with Rotated(double, tmp_path, namespace) as followed:
        await followed.until(lambda: followed.synced)
        followed.rotate(broken)
        await followed.until(followed.unused)
        assert followed.status().state is ClusterState.SYNCED
        assert SECRET not in repr(followed.log)
        followed.rotate(broken, "second")
        await followed.until(lambda: followed.status().state is ClusterState.UNREACHABLE)
        assert not double.server.watches
        followed.rotate(double.kubeconfig(), "second")
        await followed.until(lambda: followed.status().state is ClusterState.SYNCED)
