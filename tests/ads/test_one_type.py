"""Streams on which there is one type alone. What several types order among each other is none of their concern."""

import pytest

from steersman.ads.messages import Close, Variant
from steersman.names import CDS, EDS, LDS
from tests.support.xds import Mesh, resource

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
