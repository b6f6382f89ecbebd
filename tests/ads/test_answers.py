"""ACK, NACK and nonces. The numbers are those of docs/conformance.md."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steersman.ads.messages import Acked, Close, DeltaRequested, ErrorDetail, Nacked, Requested, Response, Send, Stale, Variant
from steersman.ads.sotw import SotwStream
from steersman.ads.suspects import suspects
from steersman.names import CDS, EDS, LDS, RDS, TYPE_NAMES
from steersman.snapshot.table import ResourceTable
from tests.support.examples import examples
from tests.support.xds import BAD, Mesh, resource, resources


def test_an_ack_is_told_with_the_version_it_is_for() -> None:
    table = ResourceTable(CDS)
    table.replace(resources("a"), version="a1")
    stream = SotwStream({CDS: table})
    stream.receive(Requested(CDS))
    assert stream.receive(Requested(CDS, version="a1", nonce="1")) == [Acked(CDS, "a1")]
    assert stream.receive(Requested(CDS, version="a1", nonce="1")) == [], "said twice, it says nothing new"


def test_a_nack_is_told_by_the_error_alone() -> None:
    table = ResourceTable(CDS)
    table.replace(resources("a"), version="a1")
    stream = SotwStream({CDS: table})
    stream.receive(Requested(CDS))
    [refused] = resources("a")
    nacked = Nacked(CDS, "a1", ("a",), BAD, (refused.version,))
    assert stream.receive(Requested(CDS, version="a1", nonce="1", error=BAD)) == [nacked]


BOTH = pytest.mark.parametrize("variant", list(Variant))


@BOTH
def test_c20_what_was_refused_is_not_sent_again_and_the_status_says_who_refused_what(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a", "b", "c")
    mesh.only(EDS, "b")
    client = mesh.client(variant)
    client.asks(CDS)
    client.acks(CDS)
    client.asks(EDS, "b")
    client.confirms(EDS)
    mesh.put(CDS, "b=bad", "c=2")
    assert [said.split(":")[0] for said in client.gets()] == ["cds", "eds"]
    client.confirms(EDS)
    client.now = 7.0
    assert client.nacks(CDS, text="cluster b: no such type") == []
    assert client.gets(after=20) == []
    nack = client.stream.status()[0].nack
    assert nack is not None
    assert (nack.error.text, nack.names, nack.at) == ("cluster b: no such type", ("b",), 7.0)
    mesh.put(EDS, "b=2")
    assert client.gets() == ["eds: b=2"], "other types go on"


def test_c20_endpoints_that_were_refused_do_not_follow_their_cluster() -> None:
    mesh = Mesh()
    mesh.only(CDS, "a", "b")
    mesh.only(EDS, "a=bad", "b")
    client = mesh.delta()
    client.asks(CDS)
    client.acks(CDS)
    assert client.asks(EDS, "a", "b") == ["eds: a=bad b"]
    client.nacks(EDS, text="a: no address")
    mesh.put(CDS, "a=2", "b=2")
    assert client.gets() == ["cds: a=2 b=2", "eds: b"]


@BOTH
def test_c21_fixed_content_is_sent_once_and_its_ack_clears_the_status(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(EDS, "a", "b=bad")
    client = mesh.client(variant)
    client.asks(EDS, "a", "b")
    client.confirms(EDS, error=ErrorDetail(13, "b is bad"))
    mesh.put(EDS, "a=2")
    assert client.gets() == ["eds: a=2"]
    client.confirms(EDS)
    assert client.stream.status()[0].nack is not None, "b is as bad as it was"
    mesh.put(EDS, "b=good")
    assert client.gets() == ["eds: b=good"]
    assert client.stream.status()[0].nack is not None, "it is not known yet whether it is better"
    assert client.confirms(EDS) == []
    assert client.stream.status()[0].nack is None
    assert client.gets() == []


def test_c21_sotw_an_ack_of_the_full_state_clears_the_status() -> None:
    mesh = Mesh()
    mesh.only(CDS, "a", "b=bad")
    client = mesh.sotw()
    client.asks(CDS)
    client.nacks(CDS)
    mesh.put(CDS, "b=good")
    assert client.gets() == ["cds: a b=good"]
    client.acks(CDS)
    assert client.stream.status()[0].nack is None


def test_c22_a_client_that_refuses_everything_is_sent_no_more_than_there_are_changes() -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    clients = (mesh.sotw(), mesh.delta())
    sent = {client: len(client.asks(CDS)) for client in clients}
    for update in range(100):
        mesh.put(CDS, f"a={update + 2}")
        for client in clients:
            sent[client] += len(client.nacks(CDS)) + len(client.gets())
    assert all(count <= 101 for count in sent.values())


def test_c23_sotw_a_stale_nonce_is_no_ack_but_its_names_count() -> None:
    mesh = Mesh()
    mesh.only(EDS, "a", "b")
    client = mesh.sotw()
    assert client.asks(EDS, "a") == ["eds: a"]
    old = client.nonces[EDS]
    client.acks(EDS, "a")
    mesh.put(EDS, "a=2")
    assert client.gets() == ["eds: a=2"]
    assert client.asks(EDS, "a", "b", nonce=old, version="x") == [], "the second response has not been answered yet"
    assert client.last[0] == Stale(EDS, old)
    assert client.acks(EDS, "a", "b") == ["eds: b"]
    assert client.acks(EDS, "a", "b") == []


def test_c23_sotw_names_change_twice_before_the_first_answer_is_read() -> None:
    mesh = Mesh()
    mesh.only(EDS, "c1", "c2")
    client = mesh.sotw()
    assert client.asks(EDS, "c2", "c1") == ["eds: c1 c2"]
    assert client.asks(EDS, "c1") == []
    assert client.acks(EDS, "c1") == []
    mesh.put(EDS, "c2=2")
    assert client.gets() == []


def test_c24_stale_nonces_get_no_responses_and_leave_nothing_behind() -> None:
    mesh = Mesh()
    mesh.only(EDS, "a")
    client = mesh.sotw()
    client.asks(EDS, "a")
    client.acks(EDS, "a")
    request = Requested(EDS, ("a",), nonce="old")
    before = client.stream.status()
    assert all(client.stream.receive(request) == [Stale(EDS, "old")] for _ in range(90_000))
    tracemalloc.start()
    try:
        assert all(client.stream.receive(request) == [Stale(EDS, "old")] for _ in range(10_000))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 10_000
    assert client.stream.status() == before


def test_c25_delta_a_stale_nonce_does_not_spoil_a_subscription() -> None:
    mesh = Mesh()
    mesh.only(EDS, "a", "b")
    client = mesh.delta()
    client.asks(EDS, "a")
    client.acks(EDS)
    assert client.sends(DeltaRequested(EDS, ("b",), nonce="old")) == ["eds: b"]
    assert client.last[0] == Stale(EDS, "old")


@BOTH
def test_c26_an_unknown_nonce_is_no_ack(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(EDS, "a")
    client = mesh.client(variant)
    client.asks(EDS, "a")
    right, client.nonces[EDS] = client.nonces[EDS], "from another server"
    assert client.confirms(EDS) == []
    assert client.last == [Stale(EDS, "from another server")]
    mesh.put(EDS, "a=2")
    assert client.gets() == [], "the response is still not answered"
    client.nonces[EDS] = right
    assert client.confirms(EDS) == ["eds: a=2"]


def test_c26_a_nack_with_an_unknown_nonce_is_no_nack() -> None:
    mesh = Mesh()
    mesh.only(EDS, "a")
    client = mesh.delta()
    client.asks(EDS, "a")
    client.sends(DeltaRequested(EDS, nonce="?", error=BAD))
    assert client.stream.status()[0].nack is None


@BOTH
def test_c29_types_are_answered_in_any_order(variant: Variant) -> None:
    mesh = Mesh()
    client = mesh.client(variant)
    for type_url in (CDS, EDS, LDS, RDS):
        mesh.only(type_url, "a")
        assert client.asks(type_url, "a") == [f"{TYPE_NAMES[type_url]}: a"]
    assert len(set(client.nonces.values())) == 4, "no nonce is used twice"
    answered = []
    for type_url in (RDS, CDS, LDS, EDS):
        client.confirms(type_url)
        answered.append(type_url)
        assert {status.type_url for status in client.stream.status() if status.acked is not None} == set(answered)


@BOTH
def test_c60_many_updates_of_one_resource_are_coalesced_while_its_ack_is_out(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(EDS, "a")
    client = mesh.client(variant)
    client.asks(EDS, "a")
    client.confirms(EDS)
    sent = acked = 0
    for update in range(300):
        mesh.put(EDS, f"a={update + 2}")
        sent += len(client.gets())
        assert sent <= acked + 1
        if update % 30 == 29:
            sent += len(client.confirms(EDS))
            acked += 1
    assert sent == acked + 1
    last = client.confirms(EDS)
    assert (client.last_said, last) == ("eds: a=301", [])
    assert client.stream.settled


def test_c60_a_change_that_is_taken_back_before_it_is_sent_is_no_change() -> None:
    mesh = Mesh()
    mesh.only(EDS, "a", "b")
    client = mesh.delta()
    client.asks(EDS, "a", "b")
    mesh.put(EDS, "a=2")
    mesh.put(EDS, "a=1")
    mesh.put(EDS, "new")
    mesh.remove(EDS, "new")
    mesh.remove(EDS, "b")
    mesh.put(EDS, "b")
    assert client.acks(EDS) == []


def test_a_client_that_never_answers_is_given_up() -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    client = mesh.delta()
    assert client.stream.deadline() is None
    client.now = 100.0
    client.asks(CDS)
    assert client.stream.deadline() == 160.0
    assert client.stream.pump(159.9) == []
    [close] = client.stream.pump(160.0)
    assert isinstance(close, Close)
    assert close.code == "DEADLINE_EXCEEDED"
    assert "cds response '1'" in close.text
    assert client.stream.closed
    assert client.asks(CDS, "b") == []
    assert client.stream.pump(1000.0) == []


@BOTH
def test_an_answer_that_the_client_no_longer_wants_is_not_waited_for(variant: Variant) -> None:
    """Envoy drops a response of a type that it has no subscription to, without an ACK."""
    mesh = Mesh()
    mesh.only(EDS, "a", "b")
    client = mesh.client(variant)
    assert client.asks(EDS, "a") == ["eds: a"]
    assert client.drops(EDS, "a") == []
    assert client.gets(after=100) == []
    assert client.asks(EDS, "b") == ["eds: b"]


def test_the_resources_that_a_client_complains_of_are_found_in_its_words() -> None:
    response = Response(Variant.DELTA, CDS, "", (resource("c1"), resource("c10"), resource("outbound|80||a.b")))
    text = "Error adding/updating cluster(s) c10: bad, outbound|80||a.b: no good"
    assert suspects(response, text) == ("c10", "outbound|80||a.b")
    assert suspects(response, "c1") == ("c1",)
    assert suspects(response, "xc1, c1x, c1-a") == ("c1", "c10", "outbound|80||a.b"), "no word is a name, so any may be meant"


def test_a_nonce_says_which_stream_it_is_of() -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    client = mesh.delta(nonces="s7-")
    client.asks(CDS)
    assert [action.nonce for action in client.last if isinstance(action, Send)] == ["s7-1"]


def test_the_words_of_a_nack_are_kept_as_they_are() -> None:
    mesh = Mesh()
    mesh.only(LDS, "a")
    client = mesh.sotw()
    client.asks(LDS)
    client.acks(LDS, error=ErrorDetail(3, "it: 'broke'\n\tüber"))
    nack = client.stream.status()[0].nack
    assert nack is not None
    assert nack.error == ErrorDetail(3, "it: 'broke'\n\tüber")


@settings(deadline=None, max_examples=examples(300))
@given(
    st.lists(st.from_regex(r"[ab1|_-][ab1|._ -]{0,4}", fullmatch=True), max_size=6, unique=True),
    st.text("ab1-|._ ,:", max_size=40),
)
def test_a_name_is_mentioned_where_it_stands_in_the_words_with_no_more_of_a_word_around_it(names: list[str], text: str) -> None:
    response = Response(Variant.DELTA, CDS, "1", tuple(map(resource, sorted(names))))
    in_word = frozenset("ab1-|_")
    mentioned = tuple(
        name
        for name in sorted(names)
        if any(
            text.startswith(name, at) and text[at - 1 : at] not in in_word and text[at + len(name) : at + len(name) + 1] not in in_word
            for at in range(len(text))
        )
    )
    assert suspects(response, text) == (mentioned or tuple(sorted(names)))
