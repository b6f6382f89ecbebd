"""Endpoints that the removal guard holds, as explain shows them."""

from steersman.explain.explanation import Candidate, Explanation
from steersman.model.facts import Delete
from steersman.model.ids import ClusterID
from steersman.model.objects import Kind, Pod
from steersman.settings import RemovalGuardSettings
from steersman.sources.contents import run
from steersman.sources.kube.removals import RemovalGuard
from tests.explain.test_explain import ROWS, candidates, explained
from tests.support.mesh import Mesh, fact, key, slice_of

WEST = ClusterID("west")
NOW = 1_700_000_000.0
HELD = "held since 2023-11-14T22:13:20Z, until 2023-11-14T22:18:20Z or `steersman release west default/reviews`"


class Guarded:
    """The mesh of ROWS, of which west is guarded: each endpoint of it is missed."""

    def __init__(self) -> None:
        self.mesh = Mesh(*ROWS)
        self.pods: dict[object, Pod] = {one.key: one for one in ROWS if isinstance(one, Pod)}
        self.guard = RemovalGuard(WEST, RemovalGuardSettings(at_least=1), self.pods.get, grace=30.0, place=lambda: "west.kubeconfig")
        told = [fact(row) for row in ROWS]
        for kind in (Kind.SERVICE, Kind.ENDPOINT_SLICE, Kind.POD):
            self.guard.take(kind, [one for one in told if one.kind is kind and one.key.cluster == WEST], NOW, {})
            run(self.guard.complete(kind, 0, NOW))

    def lists(self, kind: Kind, left: int, *gone: str) -> None:
        """A list is read anew, and lacks these."""
        self.guard.begin(kind, left + len(gone))
        for name in gone:
            was = self.pods.pop(key("west", name), None)
            self.guard.take(kind, [Delete(kind=kind, key=key("west", name))], NOW, {key("west", name): was})
        run(self.guard.complete(kind, left, NOW))
        self.tell()

    def tell(self) -> None:
        self.mesh.tell(*self.guard.facts(NOW))

    def explained(self) -> Explanation:
        return explained(self.mesh)

    def candidates(self) -> dict[str, Candidate]:
        return candidates(self.explained())


def test_an_endpoint_that_is_held_is_in_by_that_rule_with_the_object_its_time_and_the_command() -> None:
    guarded = Guarded()
    before = guarded.candidates()
    guarded.lists(Kind.ENDPOINT_SLICE, 0, "reviews-1")
    found = guarded.candidates()
    assert {name: (one.admitted, one.rule, one.weight) for name, one in found.items()} == {
        "east 10.0.0.1": (True, "direct", 2),
        "west 10.0.0.1": (True, "removal-held", 2),
        "west 10.0.0.2": (False, "not-mtls", 0),
    }
    one = found["west 10.0.0.1"]
    assert one.gateways == before["west 10.0.0.1"].gateways
    assert one.because[0].object == "EndpointSlice west/default/reviews-1"
    assert one.note == f"through the gateways of network net-west; the slice lists it no longer, or as not ready: {HELD}"
    assert HELD in found["west 10.0.0.2"].note
    assert guarded.explained().notes[-1] == (
        f"2 endpoints of Service west/default/reviews: 2 of its 2 endpoints were lost in a list that was read anew; {HELD}"
    )
    run(guarded.guard.release(None, NOW))
    guarded.tell()
    assert list(guarded.candidates()) == ["east 10.0.0.1"]
    assert guarded.explained().notes == ()


def test_an_endpoint_whose_pod_a_list_lacks_is_one_too() -> None:
    guarded = Guarded()
    guarded.lists(Kind.POD, 0, "p", "plain")
    one = guarded.candidates()["west 10.0.0.1"]
    assert (one.admitted, one.rule, one.because[0].object) == (True, "removal-held", "Pod west/default/p")
    assert one.note == f"through the gateways of network net-west; a list of the cluster's Pods lacks it: {HELD}"


def test_an_endpoint_that_came_back_is_itself_again() -> None:
    guarded = Guarded()
    guarded.lists(Kind.ENDPOINT_SLICE, 0, "reviews-1")
    piece = fact(slice_of("west", "reviews", "10.0.0.1=p"))
    guarded.guard.take(Kind.ENDPOINT_SLICE, [piece], NOW, {})
    guarded.tell()
    found = guarded.candidates()
    assert found["west 10.0.0.1"].rule == "via-gateway"
    assert HELD in found["west 10.0.0.2"].note, "that another is back says nothing of this one"
