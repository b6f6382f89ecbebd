"""Streams on which there is one type alone. What several types order among each other is none of their concern."""

from collections.abc import Sequence

import pytest

from steersman.ads.messages import Close, Send, Variant, Warms
from steersman.names import CDS, EDS, LDS
from tests.support.xds import BAD, Mesh, resource

BOTH = pytest.mark.parametrize("variant", list(Variant))


@BOTH
def test_the_type_goes_without_saying(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    client = mesh.client(variant, only=CDS)
    assert client.asks("") == ["cds: a"]
    assert client.acks(CDS) == []
    mesh.put(CDS, "a=2")
    assert client.gets() == ["cds: a=2"]
    assert [channel.type_url for channel in client.stream.status()] == [CDS]


@BOTH
def test_another_type_ends_the_stream(variant: Variant) -> None:
    mesh = Mesh()
    client = mesh.client(variant, only=CDS)
    client.asks(CDS)
    client.asks(EDS + "x" * 100_000, "a")
    [close] = client.last
    assert isinstance(close, Close)
    assert close.code == "INVALID_ARGUMENT"
    assert close.text.startswith(f"type_url '{EDS}xxx")
    assert close.text.endswith(f"on a stream that has {CDS} alone; ask the service of that type, or the aggregated one")
    assert len(close.text) < 500


@BOTH
def test_clusters_go_at_once_when_they_are_gone(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a", "b")
    client = mesh.client(variant, only=CDS)
    client.asks("")
    client.acks(CDS)
    mesh.remove(CDS, "b")
    assert client.gets() == (["cds: -b"] if variant is Variant.DELTA else ["cds: a"])
    client.acks(CDS)
    assert client.stream.settled
    assert client.stream.deadline() is None


@BOTH
def test_endpoints_that_are_gone_wait_for_no_clusters(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(EDS, "a")
    client = mesh.client(variant, only=EDS)
    client.asks("", "a")
    client.acks(EDS, *(() if variant is Variant.DELTA else ("a",)))
    mesh.remove(EDS, "a")
    assert client.gets() == (["eds: -a"] if variant is Variant.DELTA else [])


@BOTH
def test_listeners_wait_for_no_clusters(variant: Variant) -> None:
    mesh = Mesh()
    clusters, listeners = mesh.client(variant, only=CDS), mesh.client(variant, only=LDS)
    for client, type_url in ((clusters, CDS), (listeners, LDS)):
        client.asks("")
        client.acks(type_url)
    mesh.wave(cds="new", lds="l")
    assert clusters.gets() == ["cds: new"]
    assert listeners.gets() == ["lds: l"]


def test_what_vanished_while_the_client_was_away_is_removed_at_once() -> None:
    """On an aggregated stream it gets a second to ask for its listeners and routes again."""
    mesh = Mesh()
    mesh.only(CDS, "a")
    client = mesh.delta(only=CDS)
    assert client.asks("", holding={"a": resource("a").version, "gone": "1"}) == ["cds: -gone"]


def test_changed_clusters_are_not_remembered_for_endpoints_that_are_never_asked_for() -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    client = mesh.delta(only=CDS)
    client.asks("", holding={"a": resource("a").version})
    for update in range(100):
        mesh.wave(cds=f"n{update}")
        client.acks(CDS)
        client.gets()
    assert client.stream._unwarmed is None


@BOTH
def test_changed_clusters_are_told_after_them_so_that_their_endpoints_follow_elsewhere(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a", "b")
    client = mesh.client(variant, only=CDS)
    client.asks("")
    client.acks(CDS)
    mesh.wave(cds="a=2 -b")
    client.gets()
    assert [type(action) for action in client.last] == [Send, Warms]
    assert warmed(client.last) == [("a",)]


@BOTH
def test_endpoints_follow_clusters_that_are_on_another_stream(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(EDS, "a", "b", "unasked")
    client = mesh.client(variant)
    client.asks(EDS, "a", "b")
    client.confirms(EDS)
    client.stream.warm(("a", "unasked", "unknown"))
    assert client.gets() == ["eds: a"]
    client.confirms(EDS, error=BAD)
    client.stream.warm(("a",))
    assert client.gets() == [], "what was refused is not sent again"


@BOTH
def test_who_has_clusters_on_the_same_stream_or_endpoints_on_one_of_their_own_is_sent_nothing_twice(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    mesh.only(EDS, "a")
    both, own, none = mesh.client(variant), mesh.client(variant, only=EDS), mesh.client(variant)
    both.asks(CDS)
    both.acks(CDS)
    for client in (both, own):
        client.asks(EDS, "a")
        client.confirms(EDS)
    none.asks(LDS)
    none.acks(LDS)
    for client in (both, own, none):
        client.stream.warm(("a",))
        assert client.gets() == []


@pytest.mark.parametrize("elsewhere", [True, False])
def test_who_comes_back_for_endpoints_and_has_clusters_elsewhere_gets_them_whatever_it_holds(elsewhere: bool) -> None:
    """The clusters may have been changed meanwhile, and be sent before or after: they warm until their endpoints come."""
    mesh = Mesh()
    mesh.only(CDS, "a")
    mesh.only(EDS, "a", "b")
    holding = {name: resource(name).version for name in ("a", "b")}
    client = mesh.delta(elsewhere=lambda: elsewhere)
    assert client.asks(EDS, "a", "b", holding=holding) == (["eds: a b"] if elsewhere else [])
    both = mesh.delta(elsewhere=lambda: elsewhere)
    both.asks(CDS, holding={"a": resource("a").version})
    assert both.asks(EDS, "a", "b", holding=holding) == []
    own = mesh.delta(only=EDS, elsewhere=lambda: elsewhere)
    assert own.asks(EDS, "a", "b", holding=holding) == []


def test_who_comes_back_with_old_clusters_may_warm_any_of_the_new_ones() -> None:
    """With state of the world it doesn't say which it holds."""
    mesh = Mesh()
    mesh.only(CDS, "a", "b")
    old, new, same = (mesh.sotw(only=CDS) for _ in range(3))
    old.asks("", version="of before")
    assert warmed(old.last) == [("a", "b")]
    new.asks("")
    assert warmed(new.last) == []
    same.asks("", version=mesh.tables[CDS].version)
    assert warmed(same.last) == []


def warmed(actions: Sequence[object]) -> list[tuple[str, ...]]:
    return [action.clusters for action in actions if isinstance(action, Warms)]
