"""Resources that no wildcard covers: they are had by name only. The number is that of docs/conformance.md."""

import pytest

from steersman.ads.messages import Subscribed, Variant
from steersman.names import CDS, EDS
from tests.support.xds import DeltaClient, OnDemand, SotwClient, resource, resources

BOTH = pytest.mark.parametrize("variant", list(Variant))


def mesh_of(*specs: str) -> OnDemand:
    """Those that begin with "on-" are had by name only."""
    mesh = OnDemand()
    mesh.only(CDS, *(spec for spec in specs if not spec.startswith("on-")))
    mesh.demand(*resources(*(spec for spec in specs if spec.startswith("on-"))))
    return mesh


def held(*names: str) -> dict[str, str]:
    return {name: resource(name).version for name in names}


def delta(mesh: OnDemand) -> DeltaClient:
    client = mesh.client(Variant.DELTA)
    assert isinstance(client, DeltaClient)
    return client


@BOTH
@pytest.mark.parametrize("wildcard", [(), ("*",)])
def test_c58_a_wildcard_does_not_cover_what_is_had_by_name_only(variant: Variant, wildcard: tuple[str, ...]) -> None:
    mesh = mesh_of("a", "on-b", "on-c")
    client = mesh.client(variant)
    assert client.asks(CDS, *wildcard) == ["cds: a"]
    client.confirms(CDS)
    mesh.demand(*resources("on-b=2", "on-new"), gone=("on-c",))
    assert client.gets() == []
    mesh.put(CDS, "a=2")
    assert client.gets() == ["cds: a=2"]


def test_c58_delta_a_name_beside_the_legacy_wildcard_brings_that_one_and_its_changes() -> None:
    """What an Envoy with on-demand clusters sends on a stream that it has."""
    mesh = mesh_of("a", "on-b", "on-c")
    client = delta(mesh)
    client.asks(CDS)
    client.confirms(CDS)
    assert client.asks(CDS, "on-b") == ["cds: on-b"]
    assert Subscribed(CDS, None, frozenset({"on-b"})) in client.last
    assert client.confirms(CDS) == []
    mesh.demand(*resources("on-b=2", "on-c=2"))
    assert client.gets() == ["cds: on-b=2"]
    client.confirms(CDS)
    mesh.put(CDS, "a=2")
    assert client.gets() == ["cds: a=2"], "the wildcard stands"
    client.confirms(CDS)
    mesh.demand(gone=("on-b",))
    assert client.gets() == ["cds: -on-b"]
    client.confirms(CDS)
    mesh.demand(*resources("on-b=3"))
    assert client.gets() == ["cds: on-b=3"], "it stays subscribed"


def test_c58_delta_a_name_of_nothing_is_told_to_be_missing_at_once_and_pushed_when_it_comes() -> None:
    mesh = mesh_of("a")
    client = delta(mesh)
    client.asks(CDS)
    client.confirms(CDS)
    assert client.asks(CDS, "on-none") == ["cds: -on-none"]
    client.confirms(CDS)
    mesh.demand(*resources("on-none"))
    assert client.gets() == ["cds: on-none"]


def test_c58_delta_a_reconnect_with_the_wildcard_and_names_is_served_both() -> None:
    mesh = mesh_of("a", "b=2", "on-c", "on-d=2", "on-e")
    client = delta(mesh)
    said = client.asks(CDS, "*", "on-c", "on-d", "on-none", holding=held("a", "b", "on-c", "on-d"))
    assert said == ["cds: b=2 on-d=2 -on-none"]
    client.confirms(CDS)
    assert client.gets(after=20) == []
    mesh.demand(*resources("on-c=2", "on-e=2"))
    assert client.gets() == ["cds: on-c=2"]


def test_c58_delta_an_unchanged_reconnect_is_sent_nothing() -> None:
    mesh = mesh_of("a", "on-b", "on-c")
    client = delta(mesh)
    assert client.asks(CDS, "*", "on-b", holding=held("a", "on-b")) == ["cds:"]
    client.confirms(CDS)
    assert client.gets(after=20) == []


def test_c58_delta_what_it_holds_and_does_not_name_is_gone() -> None:
    """It comes from a server that sent it all there is."""
    mesh = mesh_of("a", "on-b", "on-c")
    client = delta(mesh)
    client.asks(CDS, "*", "on-b", holding=held("a", "on-b", "on-c"))
    client.confirms(CDS)
    assert client.gets(after=20) == ["cds: -on-c"]


def test_c58_delta_to_unsubscribe_from_it_under_the_wildcard_is_answered() -> None:
    mesh = mesh_of("a", "on-b")
    client = delta(mesh)
    client.asks(CDS, "*", "on-b")
    client.confirms(CDS)
    assert client.asks(CDS, minus=["on-b"]) == ["cds: -on-b"], "no wildcard covers it, so it is gone"
    client.confirms(CDS)
    assert client.asks(CDS, minus=["on-b", "on-never"]) == []
    mesh.demand(*resources("on-b=2"))
    assert client.gets() == []


def test_c58_delta_endpoints_follow() -> None:
    mesh = mesh_of("a", "on-b")
    mesh.only(EDS, "on-b")
    client = delta(mesh)
    client.asks(CDS)
    client.confirms(CDS)
    client.asks(CDS, "on-b")
    assert client.asks(EDS, "on-b") == ["eds: on-b"]
    client.confirms(EDS)
    client.confirms(CDS)
    mesh.demand(*resources("on-b=2"))
    assert client.gets() == ["cds: on-b=2", "eds: on-b"]


def test_c58_sotw_names_beside_the_wildcard_are_in_the_full_state() -> None:
    mesh = mesh_of("a", "on-b", "on-c")
    client = mesh.client(Variant.SOTW)
    assert client.asks(CDS, "*", "on-b") == ["cds: a on-b"]
    client.confirms(CDS)
    assert isinstance(client, SotwClient)
    assert client.acks(CDS, "*", "on-b", "on-c") == ["cds: a on-b on-c"]
    assert client.acks(CDS, "*", "on-b", "on-c") == []
    mesh.demand(*resources("on-c=2"))
    assert client.gets() == ["cds: a on-b on-c=2"]
    assert client.acks(CDS, "*", "on-b") == []
    mesh.put(CDS, "a=2")
    assert client.gets() == ["cds: a=2 on-b"]
    client.confirms(CDS)
    version = mesh.served[CDS].version
    again = mesh.client(Variant.SOTW)
    assert isinstance(again, SotwClient)
    assert again.asks(CDS, "*", "on-b", version=version) == ["cds: a=2 on-b"]


@BOTH
def test_c58_what_is_pending_is_waited_for_by_who_named_it(variant: Variant) -> None:
    mesh = mesh_of("a")
    mesh.tell({CDS: mesh.named.apply((), ["on-slow"])})
    client, other = mesh.client(variant), mesh.client(variant)
    assert other.asks(CDS, "*") == ["cds: a"]
    assert client.asks(CDS, "*", "on-slow") == ([] if variant is Variant.SOTW else ["cds: a"])
    if CDS in client.nonces:
        client.confirms(CDS)
    mesh.demand(*resources("on-slow"))
    assert client.gets() == ["cds: a on-slow" if variant is Variant.SOTW else "cds: on-slow"]
    assert other.gets() == []


def test_c58_delta_who_moves_keeps_what_it_named() -> None:
    here, there = mesh_of("a", "on-b", "on-c"), mesh_of("a=2", "on-b=2", "on-d")
    client = delta(here)
    client.asks(CDS, "*", "on-b", "on-c")
    client.confirms(CDS)
    client.stream.retable(CDS, there.served[CDS])
    assert client.gets() == ["cds: a=2 on-b=2 -on-c"]


def test_c57_c58_what_was_named_is_kept_alive_with_the_rest() -> None:
    mesh = mesh_of("a", "on-b", "on-c")
    client = mesh.client(Variant.DELTA, ttls={CDS: 30.0})
    client.asks(CDS, "*", "on-b")
    client.confirms(CDS)
    [words] = client.gets(after=10)
    assert [word.partition("@")[0] for word in words.split()] == ["cds:", "~", "a", "on-b"]
