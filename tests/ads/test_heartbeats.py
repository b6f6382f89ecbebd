"""Time to live, and the heartbeats that go before it ends. The number is that of docs/conformance.md."""

import pytest

from steersman.ads.messages import Close, ErrorDetail, Nacked, Send, Stale, Variant
from steersman.ads.shared import Shared
from steersman.names import CDS, EDS, LDS, RDS
from steersman.snapshot.table import LARGE
from tests.support.xds import DeltaClient, Mesh, SotwClient, resource

BOTH = pytest.mark.parametrize("variant", list(Variant))
TTL = 30.0
TTLS = {EDS: TTL}


def beat(*specs: str) -> str:
    """The heartbeat of these, each as NAME or NAME=CONTENT."""
    found = [resource(name, content or "1") for name, _, content in (spec.partition("=") for spec in specs)]
    return " ".join(["eds: ~", *(f"{one.name}@{one.version[:4]}" for one in found)])


def connected(mesh: Mesh, variant: Variant, *names: str) -> SotwClient | DeltaClient:
    client = mesh.client(variant, ttls=TTLS)
    client.asks(EDS, *names)
    client.confirms(EDS)
    return client


def responses(client: SotwClient | DeltaClient) -> list[Send]:
    return [action for action in client.last if isinstance(action, Send)]


@BOTH
def test_c57_what_lives_for_a_time_is_kept_alive_by_heartbeats_of_the_same_version(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(EDS, "a", "b")
    client = mesh.client(variant, ttls=TTLS)
    assert client.asks(EDS, "a", "b", "missing")[0].startswith("eds: a b")
    [first] = responses(client)
    assert (first.response.ttl, first.response.heartbeat) == (TTL, False)
    client.confirms(EDS)
    status = client.stream.status()
    assert client.stream.deadline() == 10.0
    assert client.gets(after=9.9) == []
    for _ in range(3):
        assert client.gets(after=10) == [beat("a", "b")]
        [send] = responses(client)
        assert (send.response.ttl, send.response.heartbeat) == (TTL, True)
        assert client.confirms(EDS) == []
        assert client.last == [], "the answer to a heartbeat is no ACK of an update"
    assert client.stream.status() == status, "nor is a heartbeat an update"
    assert client.stream.settled


@BOTH
def test_c57_types_without_a_time_to_live_have_no_heartbeats(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    client = mesh.client(variant, ttls=TTLS)
    client.asks(CDS)
    assert [send.response.ttl for send in responses(client)] == [0.0]
    client.confirms(CDS)
    assert client.stream.deadline() is None
    assert client.gets(after=1_000) == []


@BOTH
def test_c57_a_heartbeat_waits_for_no_ack_and_no_response_waits_for_its(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(EDS, "a", "b")
    client = connected(mesh, variant, "a", "b")
    mesh.put(EDS, "a=2")
    assert client.gets(after=5) == ["eds: a=2"]
    update = client.nonces[EDS]
    assert client.gets(after=5) == [beat("a=2", "b")], "it is on its way, so by then the client holds it"
    assert client.gets(after=20) == [], "one heartbeat at a time: who does not read is not sent more and more"
    mesh.put(EDS, "b=2")
    heartbeat, client.nonces[EDS] = client.nonces[EDS], update
    assert client.confirms(EDS) == ["eds: b=2"]
    client.nonces[EDS], update = heartbeat, client.nonces[EDS]
    assert client.confirms(EDS) == [beat("a=2", "b=2")], "the next one is overdue"
    assert not any(isinstance(action, Stale) for action in client.last)
    assert [kind.pending for kind in client.stream.status()] == [0]


@BOTH
def test_c57_a_heartbeat_that_is_not_answered_ends_the_stream(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(EDS, "a")
    client = connected(mesh, variant, "a")
    assert client.gets(after=10) == [beat("a")]
    assert client.stream.deadline() == 70.0
    client.gets(after=60)
    [close] = client.last
    assert isinstance(close, Close)
    assert (close.code, close.text) == ("DEADLINE_EXCEEDED", "no ACK or NACK of the eds heartbeat within 60 s")


@BOTH
def test_c57_what_was_refused_is_kept_alive_as_the_client_has_it(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(EDS, "a", "b")
    client = connected(mesh, variant, "a", "b")
    for content in ("2", "3"):
        mesh.put(EDS, f"a={content}", "new")
        assert client.gets() == [f"eds: a={content}"]
        client.confirms(EDS, error=ErrorDetail(13, "a: no"))
    assert client.gets(after=10) == [beat("a", "b")]
    client.confirms(EDS)
    mesh.put(EDS, "a=4")
    assert client.gets() == ["eds: a=4"]
    client.confirms(EDS)
    assert client.gets(after=10) == [beat("a=4", "b")]


@BOTH
def test_c57_of_what_was_refused_at_first_there_is_nothing_to_keep_alive(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(EDS, "a", "b=bad")
    client = mesh.client(variant, ttls=TTLS)
    client.asks(EDS, "a", "b")
    client.confirms(EDS, error=ErrorDetail(13, "b is bad"))
    assert client.gets(after=10) == [beat("a")]


@BOTH
def test_c57_a_refused_heartbeat_is_told_and_what_it_was_about_left_alone_until_it_is_sent_again(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(EDS, "a")
    client = connected(mesh, variant, "a")
    client.gets(after=10)
    client.confirms(EDS, error=ErrorDetail(13, "what is this?"))
    [nacked] = client.last
    assert isinstance(nacked, Nacked)
    assert nacked.names == ("a",)
    assert client.gets(after=10) == []
    assert client.stream.deadline() is None
    mesh.put(EDS, "a=2")
    assert client.gets() == ["eds: a=2"]
    client.confirms(EDS)
    assert client.gets(after=10) == [beat("a=2")]


def test_c57_delta_who_comes_back_hears_at_once_of_what_it_holds() -> None:
    """Nobody knows how long that has to live: another server sent it."""
    mesh = Mesh()
    mesh.only(EDS, "a", "b=2")
    client = mesh.delta(ttls=TTLS)
    holding = {"a": resource("a").version, "b": resource("b").version, "gone": "1"}
    assert client.asks(EDS, "a", "b", "gone", holding=holding) == ["eds: b=2", beat("a", "b=2") + " gone@1"], "what is gone is so later"


def test_c57_delta_what_is_removed_is_not_kept_alive_but_what_waits_to_be_is() -> None:
    mesh = Mesh()
    ttls = {CDS: TTL, RDS: TTL}
    mesh.only(CDS, "x", "y")
    mesh.only(RDS, "r=to-x")
    client = mesh.delta(ttls=ttls)
    for type_url, names in ((CDS, ()), (RDS, ("r",))):
        client.asks(type_url, *names)
        client.confirms(type_url)
    mesh.wave(cds="-x", rds="r=to-y")
    assert client.gets() == ["rds: r=to-y"]
    clusters = beat("x", "y").replace("eds", "cds")
    routes = beat("r=to-y").replace("eds", "rds")
    assert client.gets(after=10) == [clusters, routes], "the route has not left it yet"


def test_c57_sotw_full_state_types_are_kept_alive_too() -> None:
    mesh = Mesh()
    mesh.only(LDS, "a", "b")
    client = mesh.sotw(ttls={LDS: TTL})
    client.asks(LDS)
    client.confirms(LDS)
    assert client.gets(after=10) == [beat("a", "b").replace("eds", "lds")]
    assert client.confirms(LDS) == []
    assert client.asks(LDS, "a", nonce=client.nonces[LDS]) == [], "its nonce stands in what comes next, and says nothing more"
    assert not any(isinstance(action, Stale) for action in client.last)
    assert client.gets(after=10) == [beat("a").replace("eds", "lds")]


def test_c57_sotw_what_was_dropped_and_is_refused_when_it_is_taken_up_again_is_not_kept_alive() -> None:
    mesh = Mesh()
    mesh.only(CDS, "a", "b")
    client = mesh.sotw(ttls={CDS: TTL})
    client.asks(CDS, "a", "b")
    client.confirms(CDS)
    client.asks(CDS, "b")
    client.confirms(CDS)
    assert client.asks(CDS, "a", "b") == ["cds: a b"]
    client.confirms(CDS, error=ErrorDetail(13, "a is bad"))
    [send] = [action for _ in client.gets(after=10) for action in responses(client)]
    assert [found.name for found in send.response.resources] == ["b"], "it has forgotten what it once had of a"


def test_c57_an_answer_that_the_client_no_longer_wants_is_not_waited_for() -> None:
    mesh = Mesh()
    mesh.only(EDS, "a")
    client = mesh.delta(ttls=TTLS)
    client.asks(EDS, "a")
    client.confirms(EDS)
    assert client.gets(after=10) == [beat("a")]
    client.drops(EDS, "a")
    assert client.gets(after=100) == []
    assert not client.stream.closed


def test_c57_many_names_are_kept_alive_in_responses_of_bounded_size() -> None:
    mesh = Mesh()
    names = [f"{'x' * 90}{number:06}" for number in range(40_000)]
    mesh.tell({EDS: mesh.tables[EDS].replace([resource(name) for name in names])})
    client = mesh.delta(ttls=TTLS)
    client.asks(EDS, *names)
    while client.acks(EDS):
        pass
    beats = client.gets(after=10)
    assert len(beats) == 2
    assert sum(len(words.split()) - 2 for words in beats) == 40_000
    assert client.gets(after=10) == []


def test_c57_what_many_are_sent_is_put_together_once() -> None:
    mesh = Mesh()
    mesh.only(EDS, "a")
    shared = Shared()
    clients = [mesh.delta(ttls=TTLS, shared=shared) for _ in range(3)]
    for client in clients:
        client.asks(EDS, "a")
        client.acks(EDS)
        client.gets(after=10)
    assert len({id(send.response) for client in clients for send in responses(client)}) == 1


def test_c57_a_resource_that_the_client_was_not_sent_for_its_size_is_not_kept_alive() -> None:
    mesh = Mesh()
    mesh.tell({EDS: mesh.tables[EDS].replace([resource("a"), resource("big", size=LARGE)])})
    client = mesh.sotw(ttls=TTLS, largest=LARGE)
    assert client.asks(EDS, "a", "big") == ["eds: a !big"]
    client.confirms(EDS)
    assert client.gets(after=10) == [beat("a")]


@BOTH
@pytest.mark.parametrize("named", ["a", "b", "a and b"])
def test_c57_endpoints_that_followed_their_cluster_and_were_refused_as_they_were_held_are_kept_alive(variant: Variant, named: str) -> None:
    """A response is refused as a whole, though only one of its resources may be bad: the client has both as before."""
    mesh = Mesh()
    mesh.only(CDS, "a", "b")
    mesh.only(EDS, "a", "b")
    client = mesh.client(variant, ttls=TTLS)
    client.asks(CDS)
    client.confirms(CDS)
    client.asks(EDS, "a", "b")
    client.confirms(EDS)
    mesh.wave(cds="a=2", eds="b=2")
    assert client.gets()[1:] == ["eds: a b=2"]
    client.confirms(CDS)
    client.confirms(EDS, error=ErrorDetail(13, f"{named} can't be"))
    assert client.gets(after=10) == [beat("a", "b" if "b" in named else "b=2")]
