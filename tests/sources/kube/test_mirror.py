"""What an API holds, as facts: replays, new uids, unseen deletions, objects that can't be read."""

from typing import Any

import msgspec

from steersman.model.facts import Delete, Fact, Upsert
from steersman.model.ids import ClusterID, ObjectKey
from steersman.model.objects import Kind
from steersman.sources.contents import run
from steersman.sources.kube import wire
from steersman.sources.kube.mirror import Mirror
from steersman.sources.kube.reflector import Begin, Change, Complete, Put, Remove
from steersman.sources.kube.warmfile import Kept
from tests.sources.kube.answers import Object, pod, resource

EAST = ClusterID("east")


def put(body: Object) -> Put:
    return Put(msgspec.Raw(msgspec.json.encode(body)))


def remove(body: Object) -> Remove:
    return Remove(wire.head(msgspec.Raw(msgspec.json.encode(body))))


def told(mirror: Mirror, *changes: Change) -> list[str]:
    """The facts after these changes, short."""
    run(mirror.take(list(changes), 7.0))
    return [_short(fact) for fact in mirror.facts()]


def _short(fact: Fact) -> str:
    assert isinstance(fact, Upsert | Delete)
    name = fact.key.name if isinstance(fact.key, ObjectKey) else f"{fact.key.id} {fact.key.object}"
    return f"{'delete' if isinstance(fact, Delete) else 'upsert'} {name}"


def whole(*bodies: Object) -> list[Change]:
    return [Begin(), *(put(body) for body in bodies), Complete()]


def mirror_of(*bodies: Object) -> Mirror:
    mirror = Mirror(EAST, resource("pods"))
    told(mirror, *whole(*bodies))
    return mirror


def test_an_object_is_a_fact_with_its_origin() -> None:
    mirror = Mirror(EAST, resource("pods"))
    run(mirror.take(whole(pod("a", 5, uid="u1")), 7.0))
    (fact,) = mirror.facts()
    assert isinstance(fact, Upsert)
    assert (fact.kind, fact.key, fact.value.ips) == (Kind.POD, ObjectKey(EAST, "ns", "a"), ("10.0.0.1",))
    origin = fact.origin
    assert (origin.source, origin.uid, origin.resource_version, origin.seen) == ("east", "u1", "5", 7.0)
    assert mirror.facts() == []


def test_what_was_told_already_is_nothing_new() -> None:
    mirror = mirror_of(pod("a", 5))
    assert told(mirror, put(pod("a", 5))) == []
    assert told(mirror, put(pod("a", 4, ip="10.0.0.9"))) == []  # a replay
    assert told(mirror, remove(pod("a", 4))) == []  # of an older one of that name
    assert told(mirror, put(pod("a", 6))) == ["upsert a"]  # its resourceVersion is what explain shows
    assert told(mirror, remove(pod("b", 9))) == []
    assert told(mirror, remove(pod("a", 9))) == ["delete a"]
    assert told(mirror, remove(pod("a", 9))) == []


def test_versions_are_compared_as_numbers_and_opaque_ones_not_at_all() -> None:
    mirror = mirror_of(pod("a", 99))
    assert told(mirror, put(pod("a", 100, ip="10.0.0.2"))) == ["upsert a"]
    opaque: Any = pod("a", 0, ip="10.0.0.3")
    opaque["metadata"]["resourceVersion"] = "1-x"
    assert told(mirror, put(opaque)) == ["upsert a"]


def test_another_uid_is_another_object() -> None:
    mirror = mirror_of(pod("a", 5, uid="u1"))
    assert told(mirror, put(pod("a", 6, uid="u2"))) == ["delete a", "upsert a"]
    assert told(mirror, *whole(pod("a", 9, uid="u3"))) == ["delete a", "upsert a"]


def test_what_is_not_told_again_is_gone_once_all_is_told() -> None:
    mirror = mirror_of(pod("a", 5), pod("b", 6))
    assert told(mirror, Begin(), put(pod("b", 6))) == []
    assert told(mirror, put(pod("c", 8))) == ["upsert c"]
    assert told(mirror, Complete()) == ["delete a"]


def test_a_telling_that_begins_again_forgets_what_the_first_told() -> None:
    mirror = mirror_of(pod("a", 5), pod("b", 6))
    told(mirror, Begin(), put(pod("a", 5)))
    assert told(mirror, *whole(pod("b", 6))) == ["delete a"]


def test_a_whole_telling_is_believed_even_if_it_is_older() -> None:
    """As after an API server was restored from a backup."""
    mirror = mirror_of(pod("a", 500, ip="10.0.0.5"))
    assert told(mirror, *whole(pod("a", 5))) == ["upsert a"]


def test_an_object_that_cannot_be_read_is_absent_and_told_of() -> None:
    mirror = mirror_of(pod("a", 5))
    broken = pod("a", 6)
    broken["spec"] = {"containers": "none"}
    finding = "invalid-object Pod east/ns/a"
    assert told(mirror, put(broken)) == ["delete a", f"upsert {finding}"]
    assert told(mirror, put(pod("a", 7))) == ["upsert a", f"delete {finding}"]
    assert told(mirror, put(broken | {"metadata": broken["metadata"] | {"resourceVersion": "8"}}))[0] == "delete a"
    assert told(mirror, remove(pod("a", 9))) == [f"delete {finding}"]


def test_complaints_come_and_go_with_their_object() -> None:
    mirror = mirror_of()
    finding = "bad-address Pod east/ns/a"
    assert told(mirror, put(pod("a", 5, ip="nonsense"))) == ["upsert a", f"upsert {finding}"]
    assert told(mirror, put(pod("a", 6))) == ["upsert a", f"delete {finding}"]
    told(mirror, put(pod("a", 7, ip="nonsense")))
    assert told(mirror, remove(pod("a", 8))) == ["delete a", f"delete {finding}"]


def test_a_slice_that_says_nothing_is_no_fact_but_is_known() -> None:
    mirror = Mirror(EAST, resource("endpointslices"))
    labels = {"multicluster.kubernetes.io/service-name": "x", "kubernetes.io/service-name": "y"}
    imported: Object = {
        "metadata": {"name": "a", "namespace": "ns", "resourceVersion": "5", "uid": "u", "labels": labels},
        "addressType": "IPv4",
    }
    assert told(mirror, put(imported)) == []
    own = {**imported, "metadata": {**imported["metadata"], "resourceVersion": "6", "labels": {"kubernetes.io/service-name": "y"}}}
    assert told(mirror, put(own)) == ["upsert a"]
    assert told(mirror, put({**imported, "metadata": {**imported["metadata"], "resourceVersion": "7"}})) == ["delete a"]
    assert len(mirror) == 1


def test_what_is_told_as_one_is_not_told_in_parts() -> None:
    mirror = Mirror(EAST, resource("pods"))
    assert not mirror.in_parts
    told(mirror, *whole(pod("a", 5), pod("b", 6)))
    assert mirror.in_parts
    told(mirror, Begin(), put(pod("a", 5)))
    assert not mirror.in_parts
    sweeping = mirror.take([Complete()], 7.0)
    next(sweeping)
    assert not mirror.in_parts
    run(sweeping)
    assert mirror.in_parts


def kept(name: str, version: int, *, uid: str = "", ip: str = "10.0.0.1") -> Kept:
    """As a warm file has it."""
    mirror = mirror_of(pod(name, version, uid=uid, ip=ip))
    return next(mirror.kept())


def restored(*objects: Kept) -> Mirror:
    mirror = Mirror(EAST, resource("pods"))
    run(mirror.restore(objects, "east.warm", 8.0))
    return mirror


def test_what_a_warm_file_has_stands_until_the_server_has_told_everything() -> None:
    mirror = restored(kept("a", 5), kept("b", 6))
    (a, b) = mirror.facts()
    assert isinstance(a, Upsert)
    assert isinstance(b, Upsert)
    assert (a.origin.place, a.origin.uid, a.origin.resource_version, a.origin.seen) == ("east.warm", "uid-a", "5", 8.0)
    assert (mirror.warm, mirror.whole, len(mirror)) == (2, False, 2)
    assert told(mirror, Begin(), put(pod("a", 5))) == ["upsert a"], "told again, for its origin"
    assert mirror.warm == 1
    assert told(mirror, put(pod("c", 9))) == ["upsert c"]
    assert told(mirror, Complete()) == ["delete b"]
    assert (mirror.warm, mirror.whole, len(mirror)) == (0, True, 2)
    assert told(mirror, *whole(pod("a", 5), pod("c", 9))) == []


def test_an_object_that_is_as_it_was_is_held_once() -> None:
    mirror = restored(kept("a", 5))
    (before,) = mirror.facts()
    run(mirror.take([Begin(), put(pod("a", 5))], 9.0))
    (again,) = mirror.facts()
    assert isinstance(before, Upsert)
    assert isinstance(again, Upsert)
    assert again.value is before.value
    assert (again.origin.place, again.origin.seen) == ("", 9.0)


def test_an_object_of_another_uid_than_in_the_warm_file_is_another_object() -> None:
    mirror = restored(kept("a", 5, uid="u1"))
    mirror.facts()
    assert told(mirror, Begin(), put(pod("a", 3, uid="u2"))) == ["delete a", "upsert a"]


def test_a_warm_file_says_nothing_of_what_the_server_has_told() -> None:
    mirror = Mirror(EAST, resource("pods"))
    told(mirror, Begin(), put(pod("a", 7, ip="10.0.0.7")))
    run(mirror.restore([kept("a", 5), kept("b", 6)], "east.warm", 8.0))
    assert [_short(fact) for fact in mirror.facts()] == ["upsert b"]
    assert told(mirror, Complete()) == ["delete b"]
    run(mirror.restore([kept("b", 6)], "east.warm", 8.0))
    assert mirror.facts() == [], "everything has been told"


def test_what_a_warm_file_has_of_another_cluster_goes() -> None:
    mirror = restored(kept("a", 5), kept("b", 6))
    mirror.facts()
    told(mirror, Begin(), put(pod("a", 5)))
    mirror.tell_warm(9.0)
    assert [_short(fact) for fact in mirror.facts()] == ["upsert b"]
    mirror.forget_warm()
    assert [_short(fact) for fact in mirror.facts()] == ["delete b"]
    assert (mirror.warm, len(mirror)) == (0, 1)


def test_changes_are_counted_where_what_is_held_means_something_else() -> None:
    mirror = mirror_of(pod("a", 5))
    assert mirror.changes == 1
    told(mirror, put(pod("a", 6)))
    assert mirror.changes == 1, "nothing but its resourceVersion"
    told(mirror, put(pod("a", 7, ip="10.0.0.2")), put(pod("b", 8)), remove(pod("b", 9)))
    assert mirror.changes == 4
