"""Requests that are as large as they may be: what they cost and leave behind goes with their size, and not with more."""

import gc
import time
from collections.abc import Callable
from typing import Any

import pytest
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest

from steersman.ads import codec
from steersman.ads.delta import DeltaStream
from steersman.ads.messages import Send, Variant
from steersman.ads.sotw import SotwStream
from steersman.names import CDS, EDS
from tests.fuzz.subject import MOST_OF_A_PROXY, sized, texts
from tests.support.xds import Mesh, resource

BOTH = pytest.mark.parametrize("variant", list(Variant))
KINDS: dict[Variant, Any] = {Variant.DELTA: DeltaDiscoveryRequest, Variant.SOTW: DiscoveryRequest}


def addresses(count: int) -> list[str]:
    return [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(count)]


LISTS: dict[str, Callable[[Node, int], None]] = {
    "INSTANCE_IPS": lambda node, count: node.metadata.update({"INSTANCE_IPS": addresses(count)}),
    "no addresses": lambda node, count: node.metadata.update({"INSTANCE_IPS": ["x" * 50] * count}),
    "REQUESTED_NETWORK_VIEW": lambda node, count: node.metadata.update({"REQUESTED_NETWORK_VIEW": [f"network-{n}" for n in range(count)]}),
    "LABELS": lambda node, count: node.metadata.update({"LABELS": {f"label-{n}": "x" for n in range(count)}}),
    "long labels": lambda node, count: node.metadata.update({"LABELS": {f"{n}" * count: "x" for n in range(10)}}),
    "a long locality": lambda node, count: node.locality.MergeFrom(type(node.locality)(region="r" * count * 50)),
    "others": lambda node, count: node.metadata.update({f"OTHER_{n}": "x" * 50 for n in range(count)}),
    "a long agent": lambda node, count: node.MergeFrom(Node(user_agent_name="a" * count * 50, user_agent_version="v" * count)),
}


@BOTH
@pytest.mark.parametrize("what", LISTS)
def test_of_a_node_of_megabytes_little_is_kept(variant: Variant, what: str) -> None:
    node = Node(id="sidecar~10.0.0.1~a.b~c")
    LISTS[what](node, 100_000)
    raw = KINDS[variant](node=node, type_url=CDS).SerializeToString()
    opening = codec.opening(variant, raw, "ipv4:192.0.2.1:1")
    assert sum(map(len, texts(opening.proxy))) < MOST_OF_A_PROXY / 50
    assert len(opening.agent) < 1_000


def stream_of(variant: Variant, mesh: Mesh) -> Any:
    stream: Any = (DeltaStream if variant is Variant.DELTA else SotwStream)(mesh.tables)
    mesh.streams.append(stream)
    return stream


def seconds(work: Callable[[], Any]) -> float:
    """Of a processor. No garbage is collected meanwhile: that takes what all else in this process is worth."""
    gc.disable()
    try:
        began = time.process_time()
        work()
        return time.process_time() - began
    finally:
        gc.enable()


@BOTH
def test_a_nack_whose_words_are_long_costs_no_more_than_they_and_the_response_are(variant: Variant) -> None:
    """Each name of the response is looked for in the words, and each word among the names; what looks like many of them is no worse."""
    words = {
        "short": "it is bad",
        "long": "no such thing in this place " * 600,
        "of parts of names": "80" * 8_000,
        "of beginnings of names": "outbound|80||service- " * 700,
        "of names": "n80 n81 n82 " * 1_300,
    }
    mesh = Mesh()
    names = [f"outbound|80||service-{number}.default.svc.cluster.local" for number in range(5_000)] + [
        f"n{number}" for number in range(5_000)
    ]
    mesh.tell({CDS: mesh.tables[CDS].replace([resource(name) for name in names])})
    taken: dict[str, float] = {}
    for name, text in words.items():
        stream = stream_of(variant, mesh)
        decode = codec.delta_requested if variant is Variant.DELTA else codec.requested
        first = decode(KINDS[variant](type_url=CDS).SerializeToString())
        [send] = [action for action in stream.receive(first, 0.0) if isinstance(action, Send)]
        nack = KINDS[variant](type_url=CDS, response_nonce=send.nonce)
        nack.error_detail.message = text
        request = decode(nack.SerializeToString())
        taken[name] = seconds(lambda stream=stream, request=request: stream.receive(request, 1.0))  # type: ignore[misc]
    assert max(taken.values()) < 0.2 + 3 * taken["short"], taken


def test_garbage_that_is_said_to_be_held_is_gone_when_it_has_been_answered() -> None:
    mesh = Mesh()
    mesh.only(EDS, "a")
    stream = stream_of(Variant.DELTA, mesh)
    first = DeltaDiscoveryRequest(type_url=EDS, resource_names_subscribe=["*"])
    first.initial_resource_versions.update({f"garbage-{number}": "v" * 10 for number in range(50_000)})
    sent = stream.receive(codec.delta_requested(first.SerializeToString()), 0.0)
    for now in range(1, 40):
        for nonce in [action.nonce for action in sent if isinstance(action, Send)]:
            ack = DeltaDiscoveryRequest(type_url=EDS, response_nonce=nonce)
            sent = [*stream.receive(codec.delta_requested(ack.SerializeToString()), now), *stream.pump(now)]
        sent = sent or stream.pump(now)
    assert sum(map(sized, stream._channels.values())) < 10
