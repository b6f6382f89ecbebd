"""EndpointSlices as a watch tells them, again and again: what comes of it is what would come of a first reading, for less."""

import json
import random
from typing import Any

import msgspec
import pytest

from steersman.model.facts import Delete, Upsert
from steersman.model.ids import ClusterID, ObjectKey
from steersman.model.objects import READY, EndpointSlice
from steersman.sources.contents import run
from steersman.sources.endpointslice import Written
from steersman.sources.kube import wire
from steersman.sources.kube.mirror import Mirror
from steersman.sources.kube.reflector import Begin, Complete, Put
from tests.sources.kube.answers import Object, resource

EAST = ClusterID("east")
BAD = {"addresses": ["x"]}


class Telling:
    """A mirror that is told one slice, as a watch tells it."""

    def __init__(self) -> None:
        self.mirror = Mirror(EAST, resource("endpointslices"))
        self.events = self.mirror.events()
        self.version = 0
        run(self.mirror.take([Begin(), Complete()], 0.0))

    def event(self, *endpoints: Any, **fields: Any) -> bytes:
        """The event of the slice with these."""
        self.version += 1
        labels = fields.pop("labels", {"kubernetes.io/service-name": "reviews"})
        metadata = {"name": "a", "namespace": "ns", "uid": "u", "resourceVersion": str(self.version), "labels": labels}
        body: Object = {"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "metadata": metadata, "addressType": "IPv4"}
        body |= {"endpoints": list(endpoints), "ports": [{"name": "http", "port": 80}], **fields}
        return json.dumps({"type": "MODIFIED", "object": body}, separators=(",", ":")).encode()

    def read(self, *endpoints: Any, **fields: Any) -> wire.Event:
        """How that is read, and taken in."""
        event = self.events.read(self.event(*endpoints, **fields))
        run(self.mirror.take([Put(event.object)], 0.0))
        return event

    def tell(self, *endpoints: Any, **fields: Any) -> tuple[EndpointSlice | None, dict[str, str]]:
        """The row after that, and what is complained of, by finding."""
        self.read(*endpoints, **fields)
        found = {fact.key.id: fact.value.cause for fact in self.mirror.facts() if isinstance(fact, Upsert) and hasattr(fact.key, "id")}
        return self.mirror.value(ObjectKey(EAST, "ns", "a")), found


def entry(number: int, *, ready: bool = True) -> dict[str, Any]:
    return {"addresses": [f"10.0.0.{number}"], "conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "name": f"web-{number}"}}


def entries(count: int) -> list[dict[str, Any]]:
    return [entry(number) for number in range(1, count + 1)]


def read(event: wire.Event) -> int:
    """How many entries were looked at."""
    assert isinstance(event.object, Written)
    return len(event.object.endpoints or [])


def test_of_a_hundred_entries_only_the_one_that_changed_is_read() -> None:
    telling = Telling()
    assert read(telling.read(*entries(100))) == 100
    for place in (0, 41, 99):
        changed = entries(100)
        changed[place] = entry(place + 1, ready=False)
        assert read(telling.read(*changed)) == 1
        assert read(telling.read(*entries(100))) == 1


def row_of(told: tuple[EndpointSlice | None, dict[str, str]]) -> EndpointSlice:
    assert told[0] is not None
    return told[0]


@pytest.mark.parametrize("unready", [{42}, {99, 100}, {50, 52}])
def test_who_stands_in_a_slice_is_the_very_object_of_before_when_only_conditions_change(unready: set[int]) -> None:
    telling = Telling()
    before = row_of(telling.tell(*entries(100)))
    now = row_of(telling.tell(*(entry(number, ready=number not in unready) for number in range(1, 101))))
    assert now.members is before.members
    assert {number for number, listed in enumerate(now.endpoints, 1) if not listed.ready} == unready
    assert before.conditions == bytes([READY] * 100)


def test_a_column_in_which_nothing_changes_is_the_very_object_of_before() -> None:
    telling = Telling()
    before = row_of(telling.tell(*entries(20)))
    moved = row_of(telling.tell(*entries(19), entry(20) | {"nodeName": "n"})).members
    assert moved.places[19].node == "n"
    assert moved.addresses is before.members.addresses
    assert moved.pods is before.members.pods
    renamed = row_of(telling.tell(*entries(19), entry(20) | {"nodeName": "n"}, ports=[])).members
    assert renamed.ports == ()
    assert renamed.places is moved.places


def test_of_entries_that_come_and_go_only_those_that_come_are_read_and_one_that_has_become_the_last() -> None:
    telling = Telling()
    telling.read(*entries(100))
    assert read(telling.read(*entries(98))) == 1
    assert read(telling.read(*entries(100))) == 3
    assert read(telling.read(*entries(50), *entries(100)[51:])) == 0
    assert read(telling.read(*entries(50), *entries(100)[51:], entry(101))) == 2
    assert read(telling.read(entry(102), *entries(50), *entries(100)[51:], entry(101))) == 1


def test_what_else_a_slice_says_may_change_with_it() -> None:
    telling = Telling()
    telling.read(*entries(20))
    event = telling.read(*entries(20), ports=[{"name": "grpc", "port": 8443}])
    assert read(event) == 0
    now, _ = telling.tell(*entries(20), ports=[{"name": "grpc", "port": 8443}], labels={"kubernetes.io/service-name": "ratings"})
    assert now is not None
    assert (now.service, now.ports[0].name, len(now.endpoints)) == ("ratings", "grpc", 20)


@pytest.mark.parametrize("seed", range(20))
def test_a_slice_told_again_and_again_is_what_it_would_be_if_it_were_told_for_the_first_time(seed: int) -> None:
    chance = random.Random(seed)
    telling = Telling()
    listed: list[Any] = entries(chance.randrange(40))
    for _ in range(40):
        for _ in range(chance.choice([0, 1, 1, 1, 2, 5])):
            place, written = chance.randrange(len(listed) + 1), entry(chance.randrange(1, 200), ready=chance.random() < 0.7)
            match chance.randrange(4):
                case 0:
                    listed.insert(place, BAD if chance.random() < 0.2 else written)
                case 1:
                    del listed[place : place + chance.choice([1, 1, 4])]
                case _:
                    listed[place : place + 1] = [written]
        family = chance.choice(["IPv4"] * 8 + ["IPv6"])
        service = chance.choice(["reviews"] * 9 + [""])
        fields = {"addressType": family, "labels": {"kubernetes.io/service-name": service} if service else {}}
        now, complaints = telling.tell(*listed, **fields)
        fresh, expected = Telling().tell(*listed, **fields)
        assert now == fresh
        assert complaints == expected


def test_what_is_wrong_with_an_entry_is_said_each_time_and_by_its_place() -> None:
    telling = Telling()
    _, first = telling.tell(*entries(20), BAD)
    _, again = telling.tell(*entries(20), BAD)
    assert first == again != {}
    _, moved = telling.tell(*entries(19), BAD)
    assert moved["bad-address"].startswith("endpoints[19].addresses[0]")


def test_an_entry_of_another_shape_is_named_by_its_place_and_the_slice_is_read_in_full_afterwards() -> None:
    telling = Telling()
    telling.read(*entries(20))
    row, complaints = telling.tell(*entries(19), {"conditions": {"ready": "yes"}})
    assert row is None
    assert complaints["invalid-object"].startswith("endpoints[19].conditions.ready: expected `bool | null`, got `str`")
    event = telling.read(*entries(20))
    assert read(event) == 20
    assert telling.tell(*entries(20))[0] == Telling().tell(*entries(20))[0]


@pytest.mark.parametrize(
    ("whole", "broken"),
    [
        (b'{"addresses":["10.0.0.7"]', b'{"addresses":["10.0.0.7"'),
        (b'},{"addresses":["10.0.0.7"]', b'},,{"addresses":["10.0.0.7"]'),
        (b'"ports":[', b'"ports":'),
        (b'"resourceVersion":', b'"resource":'),
        (b'"endpoints":[', b'"endpoints":[,'),
    ],
)
def test_a_broken_line_is_refused_as_it_is_of_any_object(whole: bytes, broken: bytes) -> None:
    telling = Telling()
    telling.read(*entries(20))
    line = telling.event(*entries(20))
    assert line.count(whole) == 1
    with pytest.raises(wire.BadAnswer):
        telling.events.read(line.replace(whole, broken))
    assert read(telling.read(*entries(20))) == 0


def test_deletions_bookmarks_and_lists_written_otherwise_are_read_as_of_any_object() -> None:
    telling = Telling()
    telling.read(*entries(20))
    body = msgspec.json.decode(telling.event(*entries(20)))
    gone = telling.events.read(msgspec.json.encode({**body, "type": "DELETED"}))
    assert (gone.type, gone.head.name) == ("DELETED", "a")
    assert telling.events.read(b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}').head.resource_version == "9"
    spaced = telling.events.read(json.dumps(body).encode())
    assert not isinstance(spaced.object, Written)
    run(telling.mirror.take([Put(spaced.object)], 0.0))
    reordered = {
        **body,
        "object": {"endpoints": body["object"]["endpoints"], **{k: v for k, v in body["object"].items() if k != "endpoints"}},
    }
    event = telling.events.read(msgspec.json.encode(reordered))
    assert read(event) == 20


def test_a_slice_that_is_made_anew_under_its_name_takes_nothing_of_the_old_one() -> None:
    telling = Telling()
    telling.read(*entries(20))
    telling.mirror.facts()
    body = msgspec.json.decode(telling.event(*entries(19), entry(20, ready=False)))
    body["object"]["metadata"]["uid"] = "another"
    run(telling.mirror.take([Put(telling.events.read(msgspec.json.encode(body)).object)], 0.0))
    gone, there = telling.mirror.facts()
    assert isinstance(gone, Delete)
    assert isinstance(there, Upsert)
    assert there.value == Telling().tell(*entries(19), entry(20, ready=False))[0]
