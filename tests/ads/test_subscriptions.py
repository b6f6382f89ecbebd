"""What a client is sent for what it subscribes to. The numbers are those of docs/conformance.md."""

import pytest

from steersman.ads.messages import Requested, Response, Send, Subscribed, Variant
from steersman.ads.sotw import SotwStream
from steersman.names import CDS, EDS, LDS, RDS, SDS
from steersman.snapshot.table import ResourceTable
from tests.support.xds import Mesh, resource

FULL = pytest.mark.parametrize(("type_url", "short"), [(CDS, "cds"), (LDS, "lds")])
PARTIAL = pytest.mark.parametrize(("type_url", "short"), [(EDS, "eds"), (RDS, "rds"), (SDS, "sds")])
ANY = pytest.mark.parametrize(("type_url", "short"), [(CDS, "cds"), (EDS, "eds"), (LDS, "lds"), (RDS, "rds"), (SDS, "sds")])


@FULL
def test_c01_a_first_request_without_names_is_answered_with_all_there_is(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a", "b", "c")
    for client in (mesh.sotw(), mesh.delta()):
        assert client.asks(type_url) == [f"{short}: a b c"]
        assert client.acks(type_url) == []
        assert client.gets() == []


@FULL
def test_c02_the_explicit_wildcard_is_the_same(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a", "b", "c")
    sotw, delta = mesh.sotw(), mesh.delta()
    assert sotw.asks(type_url, "*") == delta.asks(type_url, "*") == [f"{short}: a b c"]
    assert sotw.acks(type_url, "*") == delta.acks(type_url) == []


@PARTIAL
def test_c02_the_explicit_wildcard_holds_for_every_type(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a", "b")
    sotw, delta = mesh.sotw(), mesh.delta()
    assert sotw.asks(type_url, "*") == delta.asks(type_url, "*") == [f"{short}: a b"]
    assert sotw.acks(type_url, "*") == delta.acks(type_url) == []
    mesh.put(type_url, "c")
    assert sotw.gets() == delta.gets() == [f"{short}: c"]


@FULL
def test_c03_sotw_wildcard_and_a_name_then_the_name_then_nothing(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a", "b")
    client = mesh.sotw()
    assert client.asks(type_url, "*", "a") == [f"{short}: a b"]
    assert client.acks(type_url, "*", "a") == []
    assert client.acks(type_url, "a") == []
    mesh.put(type_url, "a=2", "b=2")
    assert client.gets() == [f"{short}: a=2"]
    assert client.acks(type_url, "a") == []
    assert client.acks(type_url) == []
    mesh.put(type_url, "a=3", "b=3", "c")
    assert client.gets() == []
    assert client.acks(type_url) == []


@FULL
def test_c03_sotw_legacy_wildcard_ends_with_the_first_name(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a", "b")
    client = mesh.sotw()
    assert client.asks(type_url) == [f"{short}: a b"]
    assert client.acks(type_url, "b") == []
    mesh.put(type_url, "a=2")
    assert client.gets() == []
    mesh.put(type_url, "b=2")
    assert client.gets() == [f"{short}: b=2"]


@FULL
def test_c04_delta_legacy_wildcard_persists_until_it_is_unsubscribed(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a", "b")
    client = mesh.delta()
    assert client.asks(type_url) == [f"{short}: a b"]
    assert client.acks(type_url) == []
    assert client.asks(type_url, "a") == [f"{short}: a"], "what is subscribed by name is sent, whatever the client has"
    assert client.acks(type_url) == []
    mesh.put(type_url, "a=2", "b=2")
    assert client.gets() == [f"{short}: a=2 b=2"]
    assert client.acks(type_url) == []
    assert client.asks(type_url, minus=["*"]) == []
    mesh.put(type_url, "a=3", "b=3")
    assert client.gets() == [f"{short}: a=3"]
    assert client.acks(type_url) == []
    assert client.asks(type_url, minus=["a"]) == []
    mesh.put(type_url, "a=4", "b=4")
    assert client.gets() == []


@FULL
def test_c05_a_wildcard_on_an_empty_type_is_answered_once_and_empty(type_url: str, short: str) -> None:
    mesh = Mesh()
    for client in (mesh.sotw(), mesh.delta()):
        assert client.asks(type_url) == [f"{short}:"]
        assert client.acks(type_url) == []
        assert client.gets() == []


@ANY
def test_c06_nothing_is_said_before_the_table_is_ready(type_url: str, short: str) -> None:
    mesh = Mesh(ready=False)
    sotw, delta = mesh.sotw(), mesh.delta()
    assert sotw.asks(type_url, "a", "b") == delta.asks(type_url, "a", "b") == []
    assert sotw.gets() == delta.gets() == []
    mesh.only(type_url, "a")
    assert sotw.gets() == [f"{short}: a"]
    assert delta.gets() == [f"{short}: a -b"]


@FULL
def test_c06_a_wildcard_waits_until_all_is_known(type_url: str, short: str) -> None:
    mesh = Mesh(ready=False)
    clients = (mesh.sotw(), mesh.delta(), mesh.delta())
    assert [client.asks(type_url) for client in clients[:2]] == [[], []]
    assert clients[2].asks(type_url, holding={"a": "old", "gone": "old"}) == [], "nothing is removed that may yet come"
    mesh.declare(type_url, "a", "b")
    assert [client.gets() for client in clients] == [[], [], []]
    mesh.put(type_url, "a")
    assert [client.gets() for client in clients] == [[], [], []]
    mesh.put(type_url, "b")
    assert [client.gets() for client in clients[:2]] == [[f"{short}: a b"]] * 2
    assert clients[2].gets(after=2) == [f"{short}: a b -gone"]


def test_c06_an_empty_table_that_becomes_ready_is_answered() -> None:
    mesh = Mesh(ready=False)
    client = mesh.delta()
    assert client.asks(CDS) == []
    mesh.only(CDS)
    assert client.gets() == ["cds:"]


@PARTIAL
def test_c07_no_names_of_a_type_without_wildcard_are_no_names(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a", "b")
    for client in (mesh.sotw(), mesh.delta()):
        assert client.asks(type_url) == []
        mesh.put(type_url, "a=2")
        assert client.gets() == []
        assert client.asks(type_url, "b") == [f"{short}: b"]


@ANY
def test_c08_what_is_not_subscribed_may_change_unheard(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a", "b", "c")
    for client in (mesh.sotw(), mesh.delta()):
        assert client.asks(type_url, "a", "b") == [f"{short}: a b"]
        client.acks(type_url, *(["a", "b"] if client.stream.variant is Variant.SOTW else []))
        mesh.put(type_url, "c=2")
        assert client.gets() == []


@FULL
def test_c09_sotw_full_state_types_are_sent_in_full(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a", "b", "c")
    named, all_of_it = mesh.sotw(), mesh.sotw()
    named.asks(type_url, "a", "b")
    named.acks(type_url, "a", "b")
    all_of_it.asks(type_url)
    all_of_it.acks(type_url)
    mesh.put(type_url, "a=2")
    assert named.gets() == [f"{short}: a=2 b"]
    assert all_of_it.gets() == [f"{short}: a=2 b c"]


@PARTIAL
def test_c09_sotw_other_types_are_sent_as_they_change(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a", "b", "c")
    client = mesh.sotw()
    assert client.asks(type_url, "a", "b") == [f"{short}: a b"]
    client.acks(type_url, "a", "b")
    mesh.put(type_url, "a=2")
    assert client.gets() == [f"{short}: a=2"]
    client.acks(type_url, "a", "b")
    mesh.remove(type_url, "b")
    assert client.gets() == [], "absence means nothing here"


@ANY
def test_c10_delta_sends_only_what_changed(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a", "b", "c")
    client = mesh.delta()
    client.asks(type_url, "a", "b")
    client.acks(type_url)
    mesh.put(type_url, "a=2")
    assert client.gets() == [f"{short}: a=2"]


@ANY
def test_c11_delta_says_at_once_what_is_missing_and_pushes_it_when_it_comes(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a")
    client = mesh.delta()
    assert client.asks(type_url, "a", "later") == [f"{short}: a -later"]
    assert client.acks(type_url) == []
    mesh.put(type_url, "later")
    assert client.gets() == [f"{short}: later"]
    assert client.acks(type_url) == []


def test_c11_a_name_that_is_not_known_yet_is_neither_missing_nor_there() -> None:
    mesh = Mesh()
    mesh.declare(EDS, "slow", "gone")
    client = mesh.delta()
    assert client.asks(EDS, "slow", "gone", "never") == ["eds: -never"]
    client.acks(EDS)
    mesh.put(EDS, "slow")
    assert client.gets() == ["eds: slow"]
    client.acks(EDS)
    mesh.remove(EDS, "gone")
    assert client.gets() == ["eds: -gone"], "it turned out to be missing"


@ANY
def test_c12_sotw_is_silent_about_what_is_missing_and_pushes_it_when_it_comes(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "other")
    client = mesh.sotw()
    assert client.asks(type_url, "later") == []
    mesh.put(type_url, "later")
    assert client.gets() == [f"{short}: later"]


@FULL
def test_c13_delta_to_unsubscribe_a_name_under_the_wildcard_is_answered(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a", "b")
    client = mesh.delta()
    assert client.asks(type_url, "*", "a", "none") == [f"{short}: a b -none"]
    client.acks(type_url)
    assert client.asks(type_url, minus=["a"]) == [f"{short}: a"], "the wildcard still covers it"
    client.acks(type_url)
    assert client.asks(type_url, minus=["none"]) == [f"{short}: -none"]
    client.acks(type_url)
    mesh.put(type_url, "a=2")
    assert client.gets() == [f"{short}: a=2"]


@ANY
def test_c14_delta_to_unsubscribe_what_was_never_subscribed_is_nothing(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a")
    client = mesh.delta()
    client.asks(type_url, "a")
    client.acks(type_url)
    assert client.asks(type_url, minus=["b", "never"]) == []
    mesh.put(type_url, "a=2")
    assert client.gets() == [f"{short}: a=2"]


@ANY
def test_c15_delta_to_subscribe_again_is_to_be_sent_again(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a", "b")
    client = mesh.delta()
    client.asks(type_url, "a", "b")
    client.acks(type_url)
    assert client.asks(type_url, "a") == [f"{short}: a"]
    assert client.acks(type_url) == []


@ANY
def test_c16_sotw_a_name_dropped_and_taken_up_again_is_sent_again(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a", "b")
    client = mesh.sotw()
    client.asks(type_url, "a", "b")
    assert client.acks(type_url, "b") == []
    full = " b" if type_url in (CDS, LDS) else ""
    assert client.asks(type_url, "a", "b", nonce=client.nonces[type_url]) == [f"{short}: a{full}"]


@ANY
def test_c17_delta_subscribed_and_unsubscribed_at_once_is_unsubscribed(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a", "b")
    client = mesh.delta()
    assert client.asks(type_url, "a", "b", minus=["a"]) == [f"{short}: b"]
    client.acks(type_url)
    mesh.put(type_url, "a=2")
    assert client.gets() == []
    assert client.asks(type_url, "*", minus=["*"]) == []
    assert client.asks(type_url, "b", minus=["b"]) == []


@ANY
def test_c18_a_name_given_twice_is_sent_once(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a")
    for client in (mesh.sotw(), mesh.delta()):
        assert client.asks(type_url, "a", "a") == [f"{short}: a"]


@ANY
def test_c19_the_empty_name_is_a_name_of_nothing(type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a")
    client = mesh.sotw()
    assert client.asks(type_url, "") == []
    assert client.asks(type_url) == [], "and after a name, even that one, no names are no wildcard"
    mesh.put(type_url, "a=2")
    assert client.gets() == []
    assert mesh.delta().asks(type_url, "") == [f"{short}: -"]


def test_the_stream_says_what_is_subscribed_before_it_answers() -> None:
    table = ResourceTable(CDS)
    table.replace([resource("a")], version="7")
    stream = SotwStream({CDS: table})
    response = Response(Variant.SOTW, CDS, "7", (resource("a"),))
    assert stream.receive(Requested(CDS)) == [Subscribed(CDS, None), Send("1", response)]
    assert stream.receive(Requested(CDS, ("a", "b"))) == [Subscribed(CDS, frozenset({"a", "b"}))]
    assert stream.receive(Requested(CDS, ("b", "a"))) == []
    assert stream.receive(Requested(EDS)) == [], "nothing is subscribed, as before"
    assert stream.receive(Requested(CDS, ())) == [Subscribed(CDS, frozenset())]


def test_what_is_on_its_way_when_the_client_makes_up_its_mind_anew_is_taken_back() -> None:
    """It may read the first response before or after it asks for everything again."""
    mesh = Mesh()
    mesh.only(CDS, "a", "b")
    client = mesh.delta()
    assert client.asks(CDS, "*") == ["cds: a b"]
    mesh.remove(CDS, "b")
    assert client.asks(CDS, "c", minus=["*"]) == []
    assert client.asks(CDS, "*", minus=["c"]) == []
    assert client.acks(CDS) == ["cds: a -b -c"]


def test_what_is_on_its_way_when_a_name_is_dropped_and_taken_up_again_is_taken_back() -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    client = mesh.sotw()
    assert client.asks(CDS, "a") == ["cds: a"]
    mesh.remove(CDS, "a")
    assert client.asks(CDS, "b") == []
    assert client.asks(CDS, "a") == []
    assert client.acks(CDS, "a") == ["cds:"]


def test_who_takes_a_name_instead_of_all_before_all_was_sent_is_sent_the_name() -> None:
    mesh = Mesh()
    mesh.declare(RDS, "a", "slow")
    mesh.put(RDS, "a")
    delta = mesh.delta()
    assert delta.asks(RDS, "*") == []
    assert delta.asks(RDS, "a", minus=["*"]) == ["rds: a"]
    sotw = mesh.sotw()
    assert sotw.asks(RDS, "*", "a") == []
    assert sotw.asks(RDS, "a") == ["rds: a"]


def test_a_wildcard_added_to_names_brings_the_rest() -> None:
    mesh = Mesh()
    mesh.only(CDS, "a", "b")
    client = mesh.sotw()
    assert client.asks(CDS, "a") == ["cds: a"]
    assert client.acks(CDS, "a", "*") == ["cds: a b"]
    delta = mesh.delta()
    assert delta.asks(CDS, "a") == ["cds: a"]
    delta.acks(CDS)
    assert delta.asks(CDS, "*") == ["cds: a b"]


def test_sotw_what_was_lost_while_everything_was_subscribed_is_lost_though_it_is_named_now() -> None:
    mesh = Mesh()
    mesh.only(LDS, "a", "b")
    client = mesh.sotw()
    client.asks(LDS, "*", "a")
    client.acks(LDS, "*", "a")
    mesh.remove(LDS, "b")
    assert client.acks(LDS, "a", "b") == ["lds: a"]
