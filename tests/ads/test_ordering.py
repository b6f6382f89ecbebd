"""Make before break: in which order types are sent, and what waits. The numbers are those of docs/conformance.md."""

import pytest

from steersman.ads.messages import Send, Variant
from steersman.model.limits import Patience
from steersman.names import CDS, EDS, LDS, RDS, SDS
from tests.support.xds import DeltaClient, Mesh, SotwClient, resource

BOTH = pytest.mark.parametrize("variant", list(Variant))


def connected(mesh: Mesh, variant: Variant) -> SotwClient | DeltaClient:
    """An Envoy with two clusters, a listener and a route to x, all acknowledged."""
    mesh.only(CDS, "x", "y")
    mesh.only(EDS, "x", "y")
    mesh.only(LDS, "l")
    mesh.only(RDS, "r=to-x")
    mesh.only(SDS, "s")
    client = mesh.client(variant)
    for type_url, names in ((CDS, ()), (EDS, ("x", "y")), (LDS, ()), (RDS, ("r",)), (SDS, ("s",))):
        assert client.asks(type_url, *names)
        assert client.confirms(type_url) == []
    return client


@BOTH
def test_c27_c28_endpoints_of_a_changed_cluster_follow_it_though_they_are_the_same(variant: Variant) -> None:
    mesh = Mesh()
    client = connected(mesh, variant)
    mesh.put(CDS, "x=2")
    cds = "cds: x=2 y" if variant is Variant.SOTW else "cds: x=2"
    assert client.gets() == [cds, "eds: x"]
    assert client.confirms(EDS) == []
    assert client.confirms(CDS) == []


def test_c27_sotw_a_request_like_the_last_ack_is_not_answered_twice() -> None:
    """After a cluster's update Envoy repeats its last EDS request; the endpoints are on their way to it already."""
    mesh = Mesh()
    client = connected(mesh, Variant.SOTW)
    assert isinstance(client, SotwClient)
    old = client.nonces[EDS]
    mesh.put(CDS, "x=2")
    assert client.gets() == ["cds: x=2 y", "eds: x"]
    assert client.asks(EDS, "x", "y", nonce=old) == []
    assert client.confirms(EDS) == []
    assert client.confirms(EDS) == []


@BOTH
def test_c28_endpoints_that_are_not_subscribed_do_not_follow(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "static", "x")
    mesh.only(EDS, "static", "x")
    client = mesh.client(variant)
    client.asks(CDS)
    client.confirms(CDS)
    client.asks(EDS, "x")
    client.confirms(EDS)
    mesh.put(CDS, "static=2")
    assert len(client.gets()) == 1


@BOTH
def test_c28_endpoints_wait_for_the_ack_of_endpoints_only(variant: Variant) -> None:
    mesh = Mesh()
    client = connected(mesh, variant)
    mesh.put(EDS, "x=2")
    assert client.gets() == ["eds: x=2"]
    mesh.put(CDS, "x=2")
    assert [words[:3] for words in client.gets()] == ["cds"]
    assert client.confirms(EDS) == ["eds: x=2"]


@BOTH
def test_c30_a_late_ack_of_clusters_holds_nothing_else_up(variant: Variant) -> None:
    mesh = Mesh()
    client = connected(mesh, variant)
    mesh.put(CDS, "x=2")
    assert len(client.gets()) == 2
    client.confirms(EDS)
    for second in range(20):
        eds = f"x={second + 2} y={second + 2}"
        mesh.wave(cds=f"x={second + 3}", eds=eds, lds=f"l={second + 2}", rds=f"r={second}", sds=f"s={second + 2}")
        sent, *others = client.gets(after=1)
        assert sent == (f"eds: {eds}" if second >= 5 else f"eds: y={second + 2}"), "what waits for x is its own, and not for ever"
        assert [words[:3] for words in others] == ["lds", "rds", "sds"]
        for type_url in (EDS, LDS, RDS, SDS):
            client.confirms(type_url)
    cds = "cds: x=22 y" if variant is Variant.SOTW else "cds: x=22"
    assert client.confirms(CDS) == [cds, "eds: x=21"], "what came meanwhile is one push"


@BOTH
def test_c30_endpoints_do_not_overtake_the_change_of_their_cluster(variant: Variant) -> None:
    """A new pod of another service account: the cluster that takes its certificate must be there before it is."""
    mesh = Mesh()
    client = connected(mesh, variant)
    mesh.put(CDS, "x=2")
    assert len(client.gets()) == 2
    client.confirms(EDS)
    mesh.wave(cds="x=two-accounts", eds="x=two-pods y=2")
    assert client.gets() == ["eds: y=2"]
    client.confirms(EDS)
    assert client.asks(EDS, "x", *(("y",) if variant is Variant.SOTW else ())) == (
        [] if variant is Variant.SOTW else ["eds: x=two-pods"]
    ), "but what is asked for is answered"
    cds = "cds: x=two-accounts y" if variant is Variant.SOTW else "cds: x=two-accounts"
    if variant is Variant.SOTW:
        assert client.confirms(CDS) == [cds, "eds: x=two-pods"]
    else:
        assert client.confirms(CDS) == [cds]
        assert client.confirms(EDS) == ["eds: x=two-pods"]


@BOTH
def test_c40_a_listener_is_not_removed_while_it_may_wait_for_its_route(variant: Variant) -> None:
    """It takes over the address of one that goes, and is replaced in turn: Envoy would close the socket that all three share."""
    mesh = Mesh()
    client = connected(mesh, variant)
    full = variant is Variant.SOTW
    mesh.wave(lds="-l http", rds="h=to-x")
    assert client.gets() == ["lds: http" if full else "lds: http -l"]
    assert client.asks(RDS, *(("r", "h") if full else ("h",))) == ["rds: h=to-x"], "Envoy asks before it acknowledges"
    assert client.confirms(LDS) == []
    mesh.wave(lds="-http tcp other")
    assert client.gets() == [], "what takes its address must come with its removal"
    assert client.confirms(RDS) == ["lds: other tcp" if full else "lds: other tcp -http"]


@BOTH
def test_c40_a_listener_does_not_wait_for_ever_for_the_route_of_another(variant: Variant) -> None:
    mesh = Mesh()
    client = connected(mesh, variant)
    mesh.put(RDS, "r=2")
    assert client.gets() == ["rds: r=2"]
    mesh.wave(lds="-l other")
    assert client.gets(after=4.9) == []
    assert client.gets(after=5.1) == ["lds: other" if variant is Variant.SOTW else "lds: other -l"]


@BOTH
def test_c40_listeners_that_stay_wait_for_no_route(variant: Variant) -> None:
    mesh = Mesh()
    client = connected(mesh, variant)
    mesh.put(RDS, "r=2")
    assert client.gets() == ["rds: r=2"]
    mesh.wave(lds="l=2 other")
    assert client.gets() == ["lds: l=2 other"]


def test_c40_listeners_that_go_are_said_first() -> None:
    """Responses are split: what takes over an address must not come before the one that has it."""
    mesh = Mesh()
    client = connected(mesh, Variant.DELTA)
    mesh.tell({LDS: mesh.tables[LDS].apply([resource("a", size=3_000_000), resource("b", size=3_000_000)], remove=["l"])})
    (first,) = [action for action in client.stream.pump() if isinstance(action, Send)]
    assert ([found.name for found in first.response.resources], first.response.removed) == (["a"], ("l",))


@BOTH
def test_c39_clusters_come_first_then_endpoints_listeners_routes_and_secrets(variant: Variant) -> None:
    mesh = Mesh()
    client = connected(mesh, variant)
    mesh.wave(sds="s=2", rds="r=2", lds="l=2", eds="x=2", cds="x=2")
    assert [words[:3] for words in client.gets()] == ["cds", "eds", "lds", "rds", "sds"]


@BOTH
def test_c39_listeners_and_routes_wait_for_new_clusters_to_warm(variant: Variant) -> None:
    mesh = Mesh()
    client = connected(mesh, variant)
    mesh.wave(cds="new", eds="new x=2", lds="l=2", rds="r=to-new")
    cds = "cds: new x y" if variant is Variant.SOTW else "cds: new"
    assert client.gets() == [cds, "eds: x=2"]
    client.confirms(EDS)
    assert client.asks(EDS, *(("new", "x", "y") if variant is Variant.SOTW else ("new",))) == ["eds: new"]
    assert client.confirms(EDS) == []
    assert client.confirms(CDS) == ["lds: l=2", "rds: r=to-new"], "Envoy acknowledges clusters when they are warm"


@BOTH
def test_c39_they_do_not_wait_for_ever(variant: Variant) -> None:
    mesh = Mesh()
    client = connected(mesh, variant)
    mesh.wave(cds="new", lds="l=2", rds="r=to-new")
    assert len(client.gets()) == 1
    assert client.stream.deadline() == 5.0
    assert client.gets(after=4.9) == []
    assert client.gets(after=0.1) == ["lds: l=2", "rds: r=to-new"]
    assert client.stream.deadline() == 60.0
    mesh.put(RDS, "r=to-y")
    assert client.gets() == []
    assert client.confirms(RDS) == ["rds: r=to-y"]


@BOTH
def test_c39_what_is_asked_for_does_not_wait(variant: Variant) -> None:
    mesh = Mesh()
    client = connected(mesh, variant)
    mesh.put(RDS, "r2")
    mesh.wave(cds="new", rds="r=to-new")
    assert len(client.gets()) == 1
    names = ("r", "r2") if variant is Variant.SOTW else ("r2",)
    assert client.asks(RDS, *names) == ["rds: r2"]
    client.confirms(RDS)
    assert client.confirms(CDS) == ["rds: r=to-new"]


def test_c39_new_clusters_that_wait_for_an_ack_are_waited_for_too() -> None:
    mesh = Mesh()
    client = connected(mesh, Variant.DELTA)
    mesh.put(CDS, "x=2")
    assert client.gets() == ["cds: x=2", "eds: x"]
    client.confirms(EDS)
    mesh.wave(cds="new", rds="r=to-new")
    assert client.gets() == []
    assert client.confirms(CDS) == ["cds: new"]
    assert client.confirms(CDS) == ["rds: r=to-new"]


def test_c40_delta_a_cluster_is_removed_when_the_route_has_left_it() -> None:
    mesh = Mesh()
    client = connected(mesh, Variant.DELTA)
    mesh.wave(cds="-x", eds="-x", rds="r=to-y")
    assert client.gets() == ["rds: r=to-y"]
    assert client.gets(after=10) == []
    assert client.confirms(RDS) == ["cds: -x"]
    assert client.confirms(CDS) == ["eds: -x"]
    assert client.confirms(EDS) == []
    assert client.stream.settled
    assert client.stream.deadline() is None


def test_c40_sotw_a_cluster_lingers_until_the_route_has_left_it() -> None:
    mesh = Mesh()
    client = connected(mesh, Variant.SOTW)
    mesh.wave(cds="-x y=2", eds="-x", rds="r=to-y")
    assert client.gets() == ["cds: x y=2", "eds: y", "rds: r=to-y"]
    client.confirms(CDS)
    client.confirms(EDS)
    assert client.confirms(RDS) == ["cds: y=2"]
    assert client.confirms(CDS) == []
    assert client.stream.settled


@BOTH
def test_c40_a_cluster_that_moves_in_and_one_that_moves_out(variant: Variant) -> None:
    """X is replaced by Z in one generation: first the union, then the routes, then what is left."""
    mesh = Mesh()
    client = connected(mesh, variant)
    mesh.wave(cds="-x z", eds="-x z", rds="r=to-z")
    full = variant is Variant.SOTW
    assert client.gets() == ["cds: x y z" if full else "cds: z"]
    assert client.asks(EDS, *(("x", "y", "z") if full else ("z",))) == ["eds: z"]
    client.confirms(EDS)
    assert client.confirms(CDS) == ["rds: r=to-z"]
    assert client.confirms(RDS) == ["cds: y z" if full else "cds: -x"]
    assert client.drops(EDS, "x") == []
    assert client.confirms(CDS) == [], "its endpoints are forgotten with it (C41)"


@BOTH
def test_c40_a_removal_does_not_wait_for_ever(variant: Variant) -> None:
    mesh = Mesh()
    client = connected(mesh, variant)
    mesh.wave(cds="-x", rds="r=to-y")
    assert client.gets() == ["rds: r=to-y"]
    assert client.stream.deadline() == 15.0
    assert client.gets(after=14.9) == []
    assert client.gets(after=0.1) == ["cds: y" if variant is Variant.SOTW else "cds: -x"]
    assert client.stream.deadline() == 60.0


@BOTH
def test_c40_without_listeners_and_routes_a_removal_waits_for_nothing(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(CDS, "x", "y")
    client = mesh.client(variant)
    client.asks(CDS)
    client.confirms(CDS)
    mesh.wave(cds="-x y=2")
    assert client.gets() == ["cds: y=2" if variant is Variant.SOTW else "cds: y=2 -x"]


@BOTH
def test_c40_a_cluster_that_comes_back_while_it_lingers_was_never_gone(variant: Variant) -> None:
    mesh = Mesh()
    client = connected(mesh, variant)
    mesh.wave(cds="-x", eds="-x", rds="r=to-y")
    assert client.gets() == ["rds: r=to-y"]
    mesh.wave(cds="x", eds="x", rds="r=to-x")
    assert client.gets() == ([] if variant is Variant.DELTA else ["eds: x"]), "absence of endpoints is nothing that SotW can take back"
    assert client.confirms(RDS) == ["rds: r=to-x"]
    assert client.confirms(RDS) == []
    assert client.confirms(EDS) == []
    assert client.stream.settled


def test_c40_sotw_a_cluster_that_comes_back_as_the_very_same_leaves_nothing_to_say() -> None:
    mesh = Mesh()
    client = connected(mesh, Variant.SOTW)
    same = mesh.tables[CDS].content()
    mesh.remove(CDS, "x")
    mesh.tell({CDS: mesh.tables[CDS].apply(same)})
    assert client.gets() == []
    assert client.stream.settled


def test_c40_sotw_a_cluster_that_comes_back_different_is_an_update() -> None:
    mesh = Mesh()
    client = connected(mesh, Variant.SOTW)
    mesh.wave(cds="-x", rds="r=to-y")
    client.gets()
    mesh.put(CDS, "x=2")
    assert client.gets() == ["cds: x=2 y", "eds: x"]


def test_c40_sotw_a_cluster_that_is_gone_before_its_endpoints_were_asked_for_does_not_warm_for_nothing() -> None:
    """Envoy would wait 15 s for endpoints that nobody has any more, and hold back the ACK of all clusters meanwhile."""
    mesh = Mesh()
    client = connected(mesh, Variant.SOTW)
    mesh.wave(cds="z", eds="z", rds="r=to-z")
    assert client.gets() == ["cds: x y z"]
    mesh.wave(cds="-z", eds="-z", rds="r=to-x")
    assert client.gets() == []
    assert client.asks(EDS, "x", "y", "z", "other") == ["eds: \n\x01z"]
    client.confirms(EDS)
    assert client.confirms(CDS) == ["cds: x y"]
    assert client.confirms(CDS) == []


def test_c40_sotw_a_cluster_lingers_as_the_client_has_it_and_may_come_back_as_that() -> None:
    """Were it sent changed once more, Envoy would warm it for 15 s, as nobody has endpoints for it any more."""
    mesh = Mesh()
    client = connected(mesh, Variant.SOTW)
    mesh.put(CDS, "x=2")
    assert client.gets() == ["cds: x=2 y", "eds: x"]
    mesh.put(CDS, "x=3")
    mesh.wave(cds="-x", rds="r=to-y")
    assert client.gets() == ["rds: r=to-y"]
    mesh.put(CDS, "y=2")
    assert client.confirms(CDS) == ["cds: x=2 y=2"]
    mesh.put(CDS, "x=2")
    assert client.confirms(CDS) == []
    mesh.put(CDS, "y=3")
    assert client.gets() == ["cds: x=2 y=3"]


def test_c40_sotw_a_cluster_that_was_changed_and_removed_at_once_lingers_as_it_was() -> None:
    mesh = Mesh()
    client = connected(mesh, Variant.SOTW)
    mesh.put(CDS, "x=2")
    mesh.wave(cds="z -x", eds="z -x", rds="r=to-z")
    assert client.gets() == ["cds: x y z"]


@BOTH
def test_c40_endpoints_that_go_while_their_changed_cluster_waits_for_them_are_sent_once_more(variant: Variant) -> None:
    """A route leads there still. Without them the cluster would warm for 15 s; with none, every request would fail."""
    mesh = Mesh()
    client = connected(mesh, variant)
    mesh.put(EDS, "y=2")
    assert client.gets() == ["eds: y=2"]
    mesh.wave(cds="x=2", eds="x=2")
    full = variant is Variant.SOTW
    assert client.gets() == ["cds: x=2 y" if full else "cds: x=2"]
    mesh.wave(cds="z -x", eds="z -x", rds="r=to-z")
    assert client.confirms(EDS) == ["eds: x=2"]
    assert client.confirms(EDS) == []
    assert client.confirms(CDS) == ["cds: x=2 y z" if full else "cds: z"]
    assert client.asks(EDS, *(("x", "y", "z") if full else ("z",))) == ["eds: z"]
    client.confirms(EDS)
    assert client.confirms(CDS) == ["rds: r=to-z"]
    assert client.confirms(RDS) == ["cds: y z" if full else "cds: -x"]
    assert client.confirms(CDS) == ([] if full else ["eds: -x"])


@BOTH
@pytest.mark.parametrize("back", ["z", "z=2"])
def test_c39_a_route_to_a_cluster_that_is_back_does_not_overtake_its_endpoints(variant: Variant, back: str) -> None:
    """The client was told that the cluster has none: every request would fail until it hears of them."""
    mesh = Mesh()
    client = connected(mesh, variant)
    full = variant is Variant.SOTW
    mesh.wave(cds="z", eds="z", rds="r=to-z")
    assert client.gets() == ["cds: x y z" if full else "cds: z"]
    mesh.wave(cds="-z", eds="-z", rds="r=to-x")
    assert client.gets() == []
    assert client.asks(EDS, *(("x", "y", "z") if full else ("z",))) == ["eds: \n\x01z" if full else "eds: -z"]
    mesh.wave(cds=back, eds=back, rds="r=to-z")
    assert client.gets() == []
    cds = [] if back == "z" else ["cds: x y z=2" if full else "cds: z=2"]
    assert client.confirms(CDS) == cds
    assert client.confirms(EDS) == [f"eds: {back}", "rds: r=to-z"]


@BOTH
def test_c39_it_does_not_wait_for_ever_for_them(variant: Variant) -> None:
    mesh = Mesh()
    client = connected(mesh, variant)
    full = variant is Variant.SOTW
    mesh.wave(cds="z", eds="z")
    client.gets()
    mesh.wave(cds="-z", eds="-z")
    client.asks(EDS, *(("x", "y", "z") if full else ("z",)))
    mesh.wave(cds="z", eds="z", rds="r=to-z")
    assert client.confirms(CDS) == []
    assert client.gets(after=4.9) == []
    assert client.gets(after=5.1) == ["rds: r=to-z"]


def test_c40_waits_are_not_awaited_in_a_circle() -> None:
    """Whatever is overdue, `deadline` never lies in the past once `pump` was called."""
    mesh = Mesh()
    client = connected(mesh, Variant.DELTA)
    mesh.put(RDS, "r=2")
    client.gets()
    mesh.wave(cds="-x new", eds="-x", lds="l=2", rds="r=3")
    for _ in range(40):
        client.gets(after=1)
        deadline = client.stream.deadline()
        assert deadline is None or deadline > client.now


@BOTH
def test_c41_endpoints_of_a_removed_cluster_are_unsubscribed_without_a_word(variant: Variant) -> None:
    mesh = Mesh()
    client = connected(mesh, variant)
    mesh.wave(cds="-x", eds="-x")
    assert client.gets() == ["cds: y" if variant is Variant.SOTW else "cds: -x"]
    assert client.drops(EDS, "x") == []
    assert client.confirms(CDS) == []
    assert client.gets(after=20) == []
    assert client.stream.settled


@BOTH
def test_c42_endpoints_are_sent_to_whoever_subscribes_whatever_was_sent_before(variant: Variant) -> None:
    mesh = Mesh()
    client = connected(mesh, variant)
    mesh.put(EDS, "early")
    assert client.gets() == [], "nobody asked for them"
    names = ("early", "x", "y") if variant is Variant.SOTW else ("early",)
    assert client.asks(EDS, *names) == ["eds: early"]


def test_the_waits_can_be_set() -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    client = mesh.delta(patience=Patience(ack=3))
    client.asks(CDS)
    assert client.stream.deadline() == 3.0
