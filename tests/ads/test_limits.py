"""What a client may not do, and how large things may be. The numbers are those of docs/conformance.md."""

from collections.abc import Sequence

import pytest

from steersman.ads.codec import delta_requested, encode, opening, requested
from steersman.ads.messages import Close, DeltaRequested, NodeChanged, Requested, Send, Variant, Withheld
from steersman.ads.stream import Stream
from steersman.errors import ProtocolError
from steersman.model.limits import Limits
from steersman.names import CDS, EDS, LDS, RDS, SDS
from steersman.snapshot.table import LARGE, Change, LayeredTable, Refused, RefusedTable
from tests.support.xds import Mesh, resource

BOTH = pytest.mark.parametrize("variant", list(Variant))
MIB = 1024 * 1024


def closed(last: Sequence[object]) -> tuple[str, str]:
    """The status that a stream was ended with."""
    [close] = [action for action in last if isinstance(action, Close)]
    return close.code, close.text


@BOTH
def test_c43_a_request_without_a_type_ends_the_stream(variant: Variant) -> None:
    mesh = Mesh()
    client, other = mesh.client(variant), mesh.client(variant)
    client.asks("")
    assert closed(client.last)[0] == "INVALID_ARGUMENT"
    assert "type_url" in closed(client.last)[1]
    assert client.asks(CDS) == []
    assert other.asks(CDS) == ["cds:"]


@BOTH
def test_c44_an_unknown_type_costs_nothing_else(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    client = mesh.client(variant)
    unknown = "type.googleapis.com/some.Thing"
    assert client.asks(unknown, "x") == ([] if variant is Variant.SOTW else [f"{unknown}: -x"])
    assert client.asks(unknown + "s") == ([] if variant is Variant.SOTW else [f"{unknown}s:"])
    assert client.asks(CDS) == ["cds: a"]


@BOTH
def test_c44_types_are_limited(variant: Variant) -> None:
    mesh = Mesh()
    client = mesh.client(variant, limits=Limits(types=3))
    for number in range(3):
        client.asks(f"type.googleapis.com/t{number}", "x")
    assert not client.stream.closed
    client.asks("type.googleapis.com/t3", "x")
    assert closed(client.last) == ("RESOURCE_EXHAUSTED", "the stream asks for more than 3 types of resource (server.xds.limits.types)")


@BOTH
def test_c45_a_stream_that_does_not_say_who_it_is_is_refused(variant: Variant) -> None:
    from envoy.service.discovery.v3 import discovery_pb2

    message = discovery_pb2.DiscoveryRequest() if variant is Variant.SOTW else discovery_pb2.DeltaDiscoveryRequest()
    message.type_url = CDS
    with pytest.raises(ProtocolError, match="no node") as refused:
        opening(variant, message.SerializeToString(), "ipv4:127.0.0.1:1")
    assert refused.value.code == "INVALID_ARGUMENT"
    message.node.cluster = "c"
    with pytest.raises(ProtocolError, match="id of 0 characters"):
        opening(variant, message.SerializeToString(), "")
    message.node.id = "n" * 2000
    with pytest.raises(ProtocolError, match="id of 2000 characters"):
        opening(variant, message.SerializeToString(), "")


def test_c45_later_requests_need_no_node() -> None:
    mesh = Mesh()
    client = mesh.sotw(node_id="n")
    assert client.sends(Requested(CDS, node_id="n")) == ["cds:"]
    assert client.sends(Requested(LDS)) == ["lds:"]


@BOTH
def test_c46_the_first_node_holds(variant: Variant) -> None:
    mesh = Mesh()
    client = mesh.client(variant, node_id="first")
    request = Requested(CDS, node_id="second") if variant is Variant.SOTW else DeltaRequested(CDS, node_id="second")
    assert client.sends(request) == ["cds:"]  # type: ignore[arg-type]
    assert client.last[0] == NodeChanged("second")


@BOTH
def test_c47_a_long_name_ends_the_stream(variant: Variant) -> None:
    mesh = Mesh()
    client = mesh.client(variant)
    client.asks(EDS, "ok", "x" * 3_000_000)
    code, text = closed(client.last)
    assert code == "INVALID_ARGUMENT"
    expected = "a resource name of 3000000 characters in a request for eds, 4096 are allowed (server.xds.limits.nameLength)"
    assert text == expected


@BOTH
def test_c47_names_are_limited(variant: Variant) -> None:
    mesh = Mesh()
    client = mesh.client(variant)
    client.asks(EDS, *(f"name-{number}" for number in range(100_000)))
    assert closed(client.last) == ("RESOURCE_EXHAUSTED", "100000 names of eds subscribed, 65536 are allowed (server.xds.limits.names)")


def test_c47_names_are_limited_over_several_requests() -> None:
    mesh = Mesh()
    client = mesh.delta(limits=Limits(names=3))
    assert client.asks(EDS, "a", "b") == ["eds: -a -b"]
    client.acks(EDS)
    client.asks(EDS, "c", "d", minus=["a", "b"])
    assert closed(client.last)[0] == "RESOURCE_EXHAUSTED"


@BOTH
def test_c47_bytes_that_are_no_message_are_told_apart(variant: Variant) -> None:
    decode = requested if variant is Variant.SOTW else delta_requested
    for raw in (b"\xff\xff", b"\x0a\x05abc", b"\x22\x02\xff\xfe"):
        with pytest.raises(ProtocolError, match="bytes that are no") as refused:
            decode(raw)
        assert refused.value.code == "INVALID_ARGUMENT"


def sizes(actions: Sequence[object]) -> list[int]:
    return [len(encode(action)) for action in actions if isinstance(action, Send)]


@BOTH
def test_c52_responses_are_split(variant: Variant) -> None:
    mesh = Mesh()
    many = [resource(f"c{number:02}", size=MIB // 4) for number in range(40)]
    mesh.tell({EDS: mesh.tables[EDS].replace(many)})
    client = mesh.client(variant)
    received: list[str] = []
    said = client.asks(EDS, *(found.name for found in many))
    while said:
        assert len(said) == 1, "one at a time"
        assert all(size <= LARGE for size in sizes(client.last))
        received += said[0].split()[1:]
        said = client.confirms(EDS)
    assert sorted(received) == [found.name for found in many]


def test_c52_delta_full_state_types_are_split_too() -> None:
    mesh = Mesh()
    mesh.tell({CDS: mesh.tables[CDS].replace([resource(f"c{number}", size=MIB) for number in range(5)])})
    client = mesh.delta()
    assert client.asks(CDS) == ["cds: c0 c1 c2"]
    assert client.acks(CDS) == ["cds: c3 c4"]
    assert client.acks(CDS) == []


@BOTH
def test_c52_a_single_resource_that_is_too_large_goes_alone(variant: Variant) -> None:
    mesh = Mesh()
    mesh.tell({EDS: mesh.tables[EDS].replace([resource("a"), resource("big", size=5 * MIB), resource("c")])})
    assert mesh.tables[EDS].oversized == {"big": 5 * MIB + len("big=1")}
    client = mesh.client(variant)
    said = [client.asks(EDS, "a", "big", "c"), client.confirms(EDS), client.confirms(EDS)]
    assert said == [["eds: a"], ["eds: big"], ["eds: c"]]


@BOTH
def test_c52_a_client_that_would_drop_the_stream_over_it_is_told_instead(variant: Variant) -> None:
    mesh = Mesh()
    mesh.tell({EDS: mesh.tables[EDS].replace([resource("a"), resource("big", size=5 * MIB)])})
    client = mesh.client(variant, largest=4 * MIB)
    assert client.asks(EDS, "a", "big") == ["eds: a !big"]
    assert [action for action in client.last if isinstance(action, Withheld)] == [Withheld(EDS, "big", 5 * MIB + len("big=1"))]
    [response] = [action.response for action in client.last if isinstance(action, Send)]
    assert "this client can take 4194304 at most" in response.refused[0][1].text
    assert client.confirms(EDS) == []
    mesh.put(EDS, "big")
    assert client.gets() == ["eds: big"]
    assert mesh.tables[EDS].oversized == {}


@BOTH
def test_c56_a_refused_type_is_answered_by_errors_and_the_stream_goes_on(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    refused = RefusedTable(Refused(code=7, text="keys don't go over plaintext"))
    client = mesh.client(variant)
    client.stream.retable(SDS, refused)
    assert client.asks(SDS, "default", "ROOTCA") == ["sds: !ROOTCA !default"]
    [response] = [action.response for action in client.last if isinstance(action, Send)]
    assert response.refused == (("ROOTCA", refused.lookup("")), ("default", refused.lookup("")))
    assert response.removed == (("ROOTCA", "default") if variant is Variant.DELTA else ())
    assert client.confirms(SDS) == []
    assert client.gets(after=5) == [], "it is said once"
    assert client.asks(CDS) == ["cds: a"]


@BOTH
@pytest.mark.parametrize(("type_url", "short"), [(CDS, "cds"), (LDS, "lds")])
def test_c56_the_error_about_one_name_is_said_once_beside_the_full_state_of_the_others(variant: Variant, type_url: str, short: str) -> None:
    mesh = Mesh()
    mesh.only(type_url, "a", "b")
    denied = RefusedTable(Refused(code=7, text="denied by policy"))
    client = mesh.client(variant)
    client.stream.retable(type_url, LayeredTable([mesh.tables[type_url], denied]))  # type: ignore[list-item]
    assert client.asks(type_url, "a", "b", "denied") == [f"{short}: a b !denied"]
    assert client.confirms(type_url) == []
    mesh.put(type_url, "a=2")
    assert client.gets() == [f"{short}: a=2 b" if variant is Variant.SOTW else f"{short}: a=2"]


def test_a_stream_that_is_drained_says_so_and_nothing_else() -> None:
    mesh = Mesh()
    client = mesh.delta()
    client.asks(CDS)
    assert client.stream.drain() == [Close("UNAVAILABLE", "the server is going away; connect again")]
    assert client.stream.drain() == []
    mesh.put(CDS, "a")
    assert client.gets() == []


class TestMoving:
    """The client comes to stand at another table."""

    @BOTH
    def test_only_the_difference_is_sent(self, variant: Variant) -> None:
        here, there = Mesh(), Mesh()
        here.only(EDS, "same", "other=1", "gone")
        there.only(EDS, "same", "other=2", "new")
        client = here.client(variant)
        client.asks(EDS, "same", "other", "gone", "new")
        client.confirms(EDS)
        client.stream.retable(EDS, there.tables[EDS])
        assert client.gets() == ["eds: new other=2" if variant is Variant.SOTW else "eds: new other=2 -gone"]

    @BOTH
    def test_a_wildcard_moves_with_all_it_covers(self, variant: Variant) -> None:
        here, there = Mesh(), Mesh()
        here.only(CDS, "same", "other=1", "gone")
        there.only(CDS, "same", "other=2", "new")
        client = here.client(variant)
        client.asks(CDS)
        client.confirms(CDS)
        client.stream.retable(CDS, there.tables[CDS])
        expected = {Variant.SOTW: "cds: new other=2 same", Variant.DELTA: "cds: new other=2 -gone"}
        assert client.gets() == [expected[variant]]
        client.confirms(CDS)
        assert client.gets() == []

    @BOTH
    def test_a_removed_cluster_lingers_across_the_move(self, variant: Variant) -> None:
        here, there = Mesh(), Mesh()
        for mesh in (here, there):
            mesh.only(CDS, "x", "y")
            mesh.only(RDS, "r=to-x")
        client = here.client(variant)
        client.asks(CDS)
        client.confirms(CDS)
        client.asks(RDS, "r")
        client.confirms(RDS)
        there.wave(cds="-x y=2", rds="r=to-y")
        client.stream.retable(CDS, there.tables[CDS])
        client.stream.retable(RDS, there.tables[RDS])
        assert client.gets() == ["cds: x y=2" if variant is Variant.SOTW else "cds: y=2", "rds: r=to-y"]
        client.confirms(CDS)
        assert client.confirms(RDS) == ["cds: y=2" if variant is Variant.SOTW else "cds: -x"]

    @BOTH
    def test_a_table_that_is_not_ready_is_waited_for(self, variant: Variant) -> None:
        here, there = Mesh(), Mesh(ready=False)
        here.only(CDS, "a", "b")
        client = here.client(variant)
        client.asks(CDS)
        client.confirms(CDS)
        client.stream.retable(CDS, there.tables[CDS])
        assert client.gets() == []
        there.streams.append(client.stream)
        there.only(CDS, "a", "b=2", "c")
        assert client.gets() == ["cds: a b=2 c" if variant is Variant.SOTW else "cds: b=2 c"]

    @BOTH
    def test_what_was_not_answered_yet_is_not_forgotten(self, variant: Variant) -> None:
        here, there = Mesh(), Mesh()
        here.declare(EDS, "slow")
        there.only(EDS, "slow=2")
        client = here.client(variant)
        assert client.asks(EDS, "slow") == []
        client.stream.retable(EDS, there.tables[EDS])
        assert client.gets() == ["eds: slow=2"]

    @BOTH
    def test_a_type_that_is_asked_for_later_is_taken_from_the_new_table(self, variant: Variant) -> None:
        here, there = Mesh(), Mesh()
        there.only(RDS, "r")
        client = here.client(variant)
        client.stream.retable(RDS, there.tables[RDS])
        assert client.asks(RDS, "r") == ["rds: r"]

    @BOTH
    def test_a_layered_table_tells_the_changes_of_its_layers(self, variant: Variant) -> None:
        shared, own = Mesh(), Mesh()
        shared.only(LDS, "out")
        own.only(LDS, "in")
        client = shared.client(variant)
        own.streams.append(client.stream)
        client.stream.retable(LDS, LayeredTable([own.tables[LDS], shared.tables[LDS]]))
        assert client.asks(LDS) == ["lds: in out"]
        client.confirms(LDS)
        own.put(LDS, "in=2")
        assert client.gets() == ["lds: in=2 out" if variant is Variant.SOTW else "lds: in=2"]


def test_changes_of_a_type_that_nobody_asked_for_are_nothing() -> None:
    stream: Stream[DeltaRequested] = Mesh().delta().stream
    stream.changed(CDS, (Change("a", None, resource("a")),))
    assert stream.pump(0.0) == []
    assert stream.status() == ()
