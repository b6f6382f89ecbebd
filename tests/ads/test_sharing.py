"""What streams that are alike share: the bytes they are sent, the names they subscribe to, and the tables they stand at."""

import gc
import tracemalloc

import pytest

from steersman.ads.codec import encode
from steersman.ads.messages import Send, Variant
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
def test_c51_what_many_are_sent_is_put_together_once(variant: Variant) -> None:
    mesh = Mesh()
    mesh.only(EDS, "a", "b")
    shared = Shared()
    clients = [mesh.client(variant, shared=shared) for _ in range(10)]
    for client in clients:
        client.asks(EDS, "a", "b")
        client.confirms(EDS)
    mesh.put(EDS, "a=2")
    sends = [action for client in clients if client.gets() == ["eds: a=2"] for action in client.last if isinstance(action, Send)]
    assert len(sends) == 10
    assert all(send.response is sends[0].response for send in sends)
    encode(sends[0])
    assert sends[0].response.spliced is not None
    assert len({encode(send) for send in sends}) == 1, "their nonces are equal, for each is its stream's own"


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
    assert not shared._responses


def test_c51_one_change_among_five_thousand_names_is_one_resource() -> None:
    mesh = Mesh()
    names = [f"n{number}" for number in range(5_000)]
    mesh.only(EDS, *names)
    client = mesh.delta()
    client.asks(EDS, *names)
    client.acks(EDS)
    mesh.put(EDS, "n77=2")
    [channel] = client.stream.status()
    assert (channel.subscribed, channel.pending) == (5_000, 1)
    assert client.gets() == ["eds: n77=2"]


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
