"""How far a client is with each single resource, read off a stream at any moment."""

import pytest

from steersman.ads.messages import Variant
from steersman.names import CDS, EDS, LDS, SDS
from steersman.resources.resource import Resource
from steersman.snapshot.table import Refused, RefusedTable
from tests.support.xds import BAD, DeltaClient, Mesh, SotwClient, resource, spelled

BOTH = pytest.mark.parametrize("variant", list(Variant))


def told(client: SotwClient | DeltaClient) -> list[str]:
    """Each as "cds a=2 acked"; what has no content as its name alone."""
    short = {CDS: "cds", EDS: "eds", LDS: "lds", SDS: "sds"}
    found = []
    for channel, resources in client.stream.resources():
        for one in resources:
            name = spelled(one.resource) if isinstance(one.resource, Resource) else f"({one.name})"
            found.append(" ".join([short[channel.type_url], name, one.told, *([f"[{one.text}]"] if one.text else [])]))
    return found


@BOTH
def test_from_sent_to_acknowledged(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a", "b")
    client = mesh.client(variant)
    assert told(client) == []
    client.asks(CDS)
    assert told(client) == ["cds a stale", "cds b stale"]
    client.acks(CDS)
    assert told(client) == ["cds a acked", "cds b acked"]
    mesh.put(CDS, "b=2")
    assert told(client) == ["cds a acked", "cds b=2 stale"], "due, but not sent yet"
    client.gets()
    assert told(client) == [f"cds a {'acked' if variant is Variant.DELTA else 'stale'}", "cds b=2 stale"]
    mesh.put(CDS, "b=3")
    assert told(client)[1] == "cds b=2 stale", "what is on its way, as long as it is"
    client.acks(CDS)
    client.gets()
    client.acks(CDS)
    assert told(client) == ["cds a acked", "cds b=3 acked"]


@BOTH
def test_before_everything_is_known_nothing_was_sent(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    mesh.declare(CDS, "a", "late")
    client = mesh.client(variant)
    client.asks(CDS)
    assert told(client) == ["cds a not sent", "cds (late) not sent"]
    mesh.put(CDS, "late")
    client.gets()
    client.acks(CDS)
    assert told(client) == ["cds a acked", "cds late acked"]


@BOTH
def test_names_that_are_pending_missing_and_there(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(EDS, "a")
    mesh.declare(EDS, "a", "late")
    client = mesh.client(variant)
    client.asks(EDS, "a", "gone", "late")
    client.confirms(EDS)
    assert told(client) == ["eds a acked", "eds (gone) missing", "eds (late) not sent"]


@BOTH
def test_a_refusal_has_the_clients_words_until_there_is_new_content(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(EDS, "a", "b")
    client = mesh.client(variant)
    client.asks(EDS, "a", "b")
    client.confirms(EDS)
    mesh.put(EDS, "b=2")
    client.gets()
    client.confirms(EDS, error=BAD)
    assert told(client) == ["eds a acked", f"eds b=2 nacked [{BAD.text}]"]
    mesh.put(EDS, "b=3")
    assert told(client) == ["eds a acked", "eds b=3 stale"]
    client.gets()
    client.confirms(EDS)
    assert told(client) == ["eds a acked", "eds b=3 acked"]


def test_who_comes_back_with_all_of_it_has_all_of_it() -> None:
    mesh = Mesh()
    mesh.only(EDS, "a", "b=2")
    client = mesh.delta()
    client.asks(EDS, "a", "b", holding={name: resource(name).version for name in ("a", "b")})
    assert told(client) == ["eds a acked", "eds b=2 stale"]
    client.acks(EDS)
    assert told(client) == ["eds a acked", "eds b=2 acked"]


@BOTH
def test_what_a_client_may_not_have_has_our_words(variant: Variant) -> None:
    mesh = Mesh()
    client = mesh.client(variant)
    client.stream._tables[SDS] = RefusedTable(Refused(code=7, text="not over plaintext"))
    client.asks(SDS, "key")
    client.confirms(SDS)
    assert told(client) == ["sds (key) refused [not over plaintext]"]


@BOTH
def test_a_cluster_that_is_gone_is_not_acknowledged_before_its_removal_is(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a", "b")
    client = mesh.client(variant)
    for type_url in (CDS, LDS):
        client.asks(type_url)
        client.acks(type_url)
    mesh.wave(cds="-b", lds="l")
    client.gets()
    assert told(client) == ["cds a acked", "cds (b) stale", "lds l stale"]
    client.acks(LDS)
    client.acks(CDS)
    assert told(client) == ["cds a acked", "lds l acked"]
