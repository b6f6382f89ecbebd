"""What streams that are alike share: the bytes they are sent, the names they subscribe to, and the tables they stand at."""

import gc
import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from steersman.ads import codec
from steersman.ads.codec import encode
from steersman.ads.messages import DeltaRequested, Send, Variant
from steersman.ads.shared import Shared
from steersman.names import CDS, EDS, LDS, RDS
from tests.support.xds import DeltaClient, Mesh, SotwClient, resource

BOTH = pytest.mark.parametrize("variant", list(Variant))
CLUSTERS = tuple(f"outbound|80||service-{number}.default.svc.cluster.local" for number in range(1_000))


def connected(mesh: Mesh, variant: Variant, shared: Shared) -> SotwClient | DeltaClient:
    """A client with everything, whose names are strings of its own, as those that come over the wire are."""
    client = mesh.client(variant, shared=shared)
    for type_url, names in ((CDS, ()), (EDS, CLUSTERS), (LDS, ()), (RDS, CLUSTERS[:50])):
        assert client.asks(type_url, *(name.encode().decode() for name in names))
        assert client.confirms(type_url) == []
    client.last.clear()
    if isinstance(client, SotwClient):
        client.names.clear()
    return client


@BOTH
def test_c51_an_idle_stream_costs_little_however_much_it_subscribes_to(variant: Variant) -> None:
    mesh = Mesh()
    for type_url in (CDS, EDS, LDS, RDS):
        mesh.tell({type_url: mesh.tables[type_url].replace([resource(name) for name in CLUSTERS])})
    shared = Shared()
    clients = [connected(mesh, variant, shared)]
    gc.collect()
    tracemalloc.start()
    try:
        clients += [connected(mesh, variant, shared) for _ in range(20)]
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept / 20 < 10_000, "the client of the test is in it"


@BOTH
def test_c51_what_a_thousand_are_sent_is_put_together_once(variant: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = Mesh()
    mesh.only(EDS, "a", "b")
    shared = Shared()
    clients = [mesh.client(variant, shared=shared) for _ in range(1_000)]
    for client in clients:
        client.asks(EDS, "a", "b")
        client.confirms(EDS)
    mesh.put(EDS, "a=2")
    sends = [action for client in clients if client.gets() == ["eds: a=2"] for action in client.last if isinstance(action, Send)]
    assert len(sends) == 1_000
    assert all(send.response is sends[0].response for send in sends)
    put_together = [0]
    for name in ("_sotw_spliced", "_delta_spliced"):
        monkeypatch.setattr(codec, name, counted(getattr(codec, name), put_together))
    assert len({encode(send) for send in sends}) == 1, "their nonces are equal, for each is its stream's own"
    assert put_together == [1]


def counted(function: Callable[..., Any], times: list[int]) -> Callable[..., Any]:
    def counting(*given: Any) -> Any:
        times[0] += 1
        return function(*given)

    return counting


def test_a_response_is_forgotten_with_its_last_ack() -> None:
    mesh = Mesh()
    mesh.only(EDS, "a")
    shared = Shared()
    client = mesh.delta(shared=shared)
    client.asks(EDS, "a")
    client.last.clear()
    response = client.stream._channels[EDS].inflight
    assert response is not None
    again = shared.response(Variant.DELTA, EDS, response.response.resources)
    assert again is response.response
    del again, response
    client.acks(EDS)
    client.last.clear()
    gc.collect()
    assert all(known() is None for known in shared._responses.values())


def test_of_responses_that_are_gone_nothing_is_left_once_there_are_some_more() -> None:
    shared = Shared()
    kept = [shared.response(Variant.DELTA, EDS, (resource("a", str(number)),)) for number in range(40)]
    for number in range(10_000):
        shared.response(Variant.DELTA, EDS, (resource("b", str(number)),))
    assert len(shared._responses) <= 2 * (len(kept) + 1)
    assert all(shared.response(Variant.DELTA, EDS, response.resources) is response for response in kept)


@BOTH
def test_c51_one_change_among_five_thousand_names_is_one_resource_and_as_little_work_as_among_fifty(variant: Variant) -> None:
    assert lines_of_a_change(variant, 5_000) == lines_of_a_change(variant, 50)


def lines_of_a_change(variant: Variant, subscribed: int) -> int:
    """How many lines are run from the change of one resource to the bytes of its response, and for the ACK."""
    mesh = Mesh()
    names = [f"n{number:04}" for number in range(subscribed)]
    mesh.only(EDS, *names)
    client = mesh.client(variant)
    client.asks(EDS, *names)
    client.confirms(EDS)
    lines = 0

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line" and "steersman" in frame.f_code.co_filename
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        mesh.put(EDS, "n0007=2")
        [send] = client.stream.pump()
        assert isinstance(send, Send)
        encode(send)
        if variant is Variant.DELTA:
            client.stream.receive(DeltaRequested(EDS, nonce=send.nonce))  # type: ignore[arg-type]
    finally:
        sys.settrace(before)
    assert [found.name for found in send.response.resources] == ["n0007"]
    [channel] = client.stream.status()
    assert (channel.subscribed, channel.pending) == (subscribed, 0)
    return lines


def test_equal_content_under_another_identity_is_another_response() -> None:
    shared = Shared()
    one, other = resource("a"), resource("a", "2")
    assert shared.response(Variant.DELTA, EDS, (one,)) == shared.response(Variant.DELTA, EDS, (one,))
    first = shared.response(Variant.DELTA, EDS, (one,))
    assert shared.response(Variant.DELTA, EDS, (other,)) is not first
    assert shared.response(Variant.SOTW, EDS, (one,)) is not first
    assert shared.response(Variant.DELTA, CDS, (one,)) is not first
    assert shared.response(Variant.DELTA, EDS, (one,), ("b",)) is not first
    assert shared.response(Variant.DELTA, EDS, (one,), stated="7").version == "7"
