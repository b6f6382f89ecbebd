"""A client that has been connected before. The numbers are those of docs/conformance.md."""

import tracemalloc

import pytest

from steersman.ads.messages import DeltaRequested, Requested
from steersman.names import CDS, EDS, LDS, RDS
from tests.support.xds import Mesh, resource

FULL = pytest.mark.parametrize(("type_url", "short"), [(CDS, "cds"), (LDS, "lds")])


def held(*names: str) -> dict[str, str]:
    """What a client says that holds these as resource() makes them."""
    return {name: resource(name).version for name in names}


@FULL
def test_c31_delta_who_has_all_gets_one_empty_answer(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a", "b")
    client = mesh.delta()
    assert client.asks(type_url, holding=held("a", "b")) == [f"{short}:"]
    assert client.acks(type_url) == []
    assert client.gets(after=20) == []
    mesh.put(type_url, "a=2")
    assert client.gets() == [f"{short}: a=2"]


def test_c31_delta_who_has_all_it_names_gets_nothing() -> None:
    mesh = Mesh()
    mesh.only(EDS, "a", "b")
    client = mesh.delta()
    assert client.asks(EDS, "a", "b", holding=held("a", "b")) == []
    assert client.gets(after=20) == []
    mesh.put(EDS, "a=2")
    assert client.gets() == ["eds: a=2"]


@FULL
def test_c32_delta_what_vanished_meanwhile_is_removed(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a")
    client = mesh.delta()
    said = client.asks(type_url, holding=held("a", "gone"))
    if type_url == CDS:
        assert said == ["cds:"], "routes may use it still: the client has not asked for its routes again"
        client.acks(CDS)
        assert client.gets(after=0.9) == []
        said = client.gets(after=0.1)
    assert said == [f"{short}: -gone"]


def test_c32_delta_a_server_with_nothing_removes_everything() -> None:
    mesh = Mesh()
    client = mesh.delta()
    assert client.asks(CDS, holding=held("a", "b")) == ["cds:"]
    assert client.asks(EDS, "a", "b", holding=held("a", "b")) == []
    assert client.acks(CDS) == []
    assert client.asks(LDS, holding=held("l")) == ["lds: -l"]
    assert client.asks(RDS, "r", holding=held("r")) == ["rds: -r"]
    assert client.acks(LDS) == []
    assert client.acks(RDS) == ["cds: -a -b"], "clusters go when nothing uses them any more"
    assert client.acks(CDS) == ["eds: -a -b"]


def test_c33_delta_changed_unknown_and_missing_at_once() -> None:
    mesh = Mesh()
    mesh.only(EDS, "same", "changed=2", "unknown")
    client = mesh.delta()
    holding = held("same", "changed") | {"unknown": "from another life"}
    assert client.asks(EDS, "same", "changed", "unknown", "missing", holding=holding) == ["eds: changed=2 unknown -missing"]


def test_c33_delta_a_wildcard_with_names_that_are_not_in_it() -> None:
    """What an Envoy with on-demand clusters sends."""
    mesh = Mesh()
    mesh.only(CDS, "a", "b=2", "c")
    client = mesh.delta()
    assert client.asks(CDS, "*", "missing", "c", holding=held("a", "b")) == ["cds: b=2 c -missing"]


@FULL
def test_c34_sotw_who_has_the_same_version_is_left_alone_but_a_change_is_sent(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a", "b")
    version = mesh.tables[type_url].version
    client = mesh.sotw()
    assert client.asks(type_url, version=version) == []
    mesh.put(type_url, "a=2")
    assert client.gets() == [f"{short}: a=2 b"]
    other = mesh.sotw()
    assert other.asks(type_url, version=version) == [f"{short}: a=2 b"]


@FULL
def test_c34_sotw_who_names_what_it_wants_is_answered_in_any_case(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a", "b")
    version = mesh.tables[type_url].version
    assert mesh.sotw().asks(type_url, "a", "b", version=version) == [f"{short}: a b"]
    assert mesh.sotw().asks(type_url, "gone", version="old") == [f"{short}:"], "absence is how it learns that it is gone"


def test_c35_equal_counters_mean_nothing_since_versions_are_those_of_the_content() -> None:
    before, after = Mesh(), Mesh()
    before.only(CDS, "a=old", "b")
    after.only(CDS, "a=new", "b")
    client = before.delta()
    client.asks(CDS)
    holding = {found.name: found.version for found in before.tables[CDS].content()}
    assert after.delta().asks(CDS, holding=holding) == ["cds: a=new"]
    assert after.sotw().asks(CDS, version=before.tables[CDS].version) == ["cds: a=new b"]


def test_c35_two_servers_with_equal_content_give_equal_versions() -> None:
    one, other = Mesh(), Mesh()
    one.put(CDS, "a", "b", "x")
    one.remove(CDS, "x")
    other.put(CDS, "b=0", "a")
    other.put(CDS, "b")
    first, second = one.sotw(), other.sotw()
    assert first.asks(CDS) == second.asks(CDS)
    assert first.versions[CDS] == second.versions[CDS] == one.tables[CDS].version


def test_c36_garbage_in_the_versions_is_compared_and_forgotten() -> None:
    mesh = Mesh()
    mesh.only(EDS, "a", "b")
    client = mesh.delta()
    garbage = {"a": "x" * 1_000_000, "b": "", "y" * 1_000_000: "1", **{f"never-{i}": "1" for i in range(100_000)}}
    request = DeltaRequested(EDS, ("a", "b"), initial=garbage)
    tracemalloc.start()
    try:
        assert client.sends(request) == ["eds: a b"]
        client.acks(EDS)
        del request, garbage
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100_000


def test_c36_garbage_under_a_wildcard_is_removed_in_responses_of_bounded_size() -> None:
    mesh = Mesh()
    mesh.only(LDS, "a")
    client = mesh.delta()
    garbage = {f"never-{i}": "1" for i in range(30_000)}
    said = client.asks(LDS, holding=garbage)
    removed: list[str] = []
    while said:
        [words] = said
        removed += words.split()[1:]
        said = client.acks(LDS)
    assert sorted(removed) == sorted(["a", *(f"-{name}" for name in garbage)])


def test_c36_sotw_a_long_version_is_only_compared() -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    assert mesh.sotw().sends(Requested(CDS, version="x" * 1_000_000)) == ["cds: a"]


def test_endpoints_of_a_cluster_that_changed_meanwhile_follow_it() -> None:
    """The client says that it has them, and yet the changed cluster would wait 15 s for them."""
    mesh = Mesh()
    mesh.only(CDS, "a=2", "b")
    mesh.only(EDS, "a", "b")
    client = mesh.delta()
    assert client.asks(CDS, holding=held("a", "b")) == ["cds: a=2"]
    assert client.asks(EDS, "a", "b", holding=held("a", "b")) == ["eds: a"]
    client.acks(EDS)
    assert client.acks(CDS) == []


def test_c40_a_cluster_that_was_removed_meanwhile_outlives_the_route_to_it() -> None:
    mesh = Mesh()
    mesh.only(CDS, "new")
    mesh.only(EDS, "new")
    mesh.only(LDS, "l")
    mesh.only(RDS, "r=to-new")
    client = mesh.delta()
    assert client.asks(CDS, holding=held("old")) == ["cds: new"]
    assert client.asks(EDS, "old", holding=held("old")) == []
    assert client.asks(LDS, holding=held("l")) == ["lds:"]
    assert client.asks(RDS, "r", holding=held("r")) == [], "the new cluster warms"
    assert client.asks(EDS, "new") == ["eds: new"]
    client.acks(EDS)
    client.acks(LDS)
    assert client.acks(CDS) == ["rds: r=to-new"]
    assert client.acks(RDS) == ["cds: -old"]
    assert client.acks(CDS) == ["eds: -old"]


def test_c39_delta_after_a_reconnect_listeners_wait_for_new_clusters_too() -> None:
    """It held others: what is new among them may lead to a cluster that has not warmed yet."""
    mesh = Mesh()
    mesh.only(CDS, "a", "new")
    mesh.only(LDS, "l=to-a", "l2=to-new")
    client = mesh.delta()
    assert client.asks(CDS, holding=held("a")) == ["cds: new"]
    assert client.asks(LDS, holding={"l": resource("l", "to-a").version}) == []
    assert client.confirms(CDS) == ["lds: l2=to-new"]
