"""The bytes that are put together by hand are those of protobuf, and another decoder reads the same from them."""

import importlib
import warnings
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from steersman.ads import codec
from steersman.ads.codec import delta_requested, encode, opening, requested
from steersman.ads.messages import DeltaRequested, ErrorDetail, Requested, Response, Send, Variant
from steersman.errors import ProtocolError
from steersman.names import CDS, EDS, TYPE_NAMES
from steersman.resources.resource import Resource
from steersman.snapshot.table import Refused
from tests.support.examples import examples

WRAPPER = "type.googleapis.com/envoy.service.discovery.v3.Resource"
texts = st.text(st.characters(codec="utf-8"), max_size=300)
bodies = st.lists(st.binary(max_size=200), max_size=4).map(tuple)
found = st.builds(Resource, name=texts, version=texts.filter(bool), parts=bodies)
refusals = st.tuples(texts, st.builds(Refused, code=st.integers(1, 1 << 20), text=texts))


@cache
def second_decoder() -> Any:
    """Envoy's messages of another make, in pure Python. Importing them warns of what they use of pydantic."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("envoy_data_plane.envoy.service.discovery.v3")


@st.composite
def responses(draw: st.DrawFn) -> Response:
    variant = draw(st.sampled_from(Variant))
    return Response(
        variant,
        draw(st.sampled_from([CDS, EDS, "type.googleapis.com/x"])),
        draw(texts),
        tuple(draw(st.lists(found, max_size=4))),
        tuple(draw(st.lists(texts, max_size=3))) if variant is Variant.DELTA else (),
        tuple(draw(st.lists(refusals, max_size=2))),
        *draw(st.sampled_from([(0.0, False), (0.25, False), (30.0, False), (90.5, False), (5.0, True), (300.001, True)])),
    )


def by_protobuf(send: Send) -> Any:
    """The same message, built by protobuf."""
    response = send.response
    delta = response.variant is Variant.DELTA
    message = discovery_pb2.DeltaDiscoveryResponse() if delta else discovery_pb2.DiscoveryResponse()
    setattr(message, "system_version_info" if delta else "version_info", response.version)
    message.type_url = response.type_url
    message.nonce = send.nonce
    for resource in response.resources:
        body = AnyMessage(type_url=response.type_url, value=resource.body)
        named = discovery_pb2.Resource(name=resource.name, version=resource.version)
        if not response.heartbeat:
            named.resource.CopyFrom(body)
        if response.ttl:
            named.ttl.FromNanoseconds(round(response.ttl * 1e9))
            body = AnyMessage(type_url=WRAPPER, value=named.SerializeToString(deterministic=True))
        message.resources.append(named if delta else body)
    if delta:
        message.removed_resources.extend(response.removed)
    for name, refused in response.refused:
        error = message.resource_errors.add()
        error.resource_name.SetInParent()
        error.resource_name.name = name
        error.error_detail.code = refused.code
        error.error_detail.message = refused.text
    return message


@settings(deadline=None, max_examples=examples(300))
@given(response=responses(), nonce=texts)
def test_spliced_bytes_are_protobufs(response: Response, nonce: str) -> None:
    send = Send(nonce, response)
    expected = by_protobuf(send).SerializeToString(deterministic=True)
    for _ in range(3):  # the first stream's, the second's, and all others'
        assert encode(send) == expected


@settings(deadline=None, max_examples=examples(100))
@given(response=responses(), nonce=texts)
def test_another_decoder_reads_the_same(response: Response, nonce: str) -> None:
    raw = encode(Send(nonce, response))
    if response.variant is Variant.DELTA:
        delta = second_decoder().DeltaDiscoveryResponse.parse(raw)
        assert (delta.system_version_info, delta.type_url, delta.nonce) == (response.version, response.type_url, nonce)
        read = delta.resources
        assert tuple(delta.removed_resources) == response.removed
        errors = delta.resource_errors
    else:
        sotw = second_decoder().DiscoveryResponse.parse(raw)
        assert (sotw.version_info, sotw.type_url, sotw.nonce) == (response.version, response.type_url, nonce)
        if response.ttl:
            assert {item.type_url for item in sotw.resources} <= {WRAPPER}
            read = [second_decoder().Resource.parse(item.value) for item in sotw.resources]
        else:
            read = []
            bodies_read = [(item.type_url, bytes(item.value)) for item in sotw.resources]
            assert bodies_read == [(response.type_url, one.body) for one in response.resources]
        errors = sotw.resource_errors
    for item, one in zip(read, response.resources if response.ttl or response.variant is Variant.DELTA else (), strict=True):
        assert (item.name, item.version, item.ttl.total_seconds() if item.ttl else 0) == (one.name, one.version, response.ttl)
        if response.heartbeat:
            assert item.resource is None
        else:
            assert (item.resource.type_url, bytes(item.resource.value)) == (response.type_url, one.body)
    assert [(error.resource_name.name, error.error_detail.code, error.error_detail.message) for error in errors] == [
        (name, refused.code, refused.text) for name, refused in response.refused
    ]


def test_all_but_the_nonce_is_put_together_once() -> None:
    response = Response(Variant.DELTA, EDS, "v", (Resource(name="a", version="1", parts=(b"x" * 1000,)),))
    first = encode(Send("1", response))
    second = encode(Send("2", response))
    spliced = response.spliced
    third = encode(Send("3", response))
    assert response.spliced is spliced
    assert first.replace(b"*\x011", b"*\x012") == second
    assert second.replace(b"*\x012", b"*\x013") == third


def test_what_one_stream_alone_is_sent_is_not_copied_for_others() -> None:
    body = b"x" * 1000
    response = Response(Variant.DELTA, EDS, "v", (Resource(name="a", version="1", parts=(body,)),))
    encode(Send("1", response))
    assert response.spliced is not None
    assert any(piece is body for piece in response.spliced.before)


@settings(deadline=None, max_examples=examples(200))
@given(data=st.data())
def test_requests_are_read_as_protobuf_writes_them(data: st.DataObject) -> None:
    names = data.draw(st.lists(texts, max_size=4).map(tuple))
    gone = data.draw(st.lists(texts, max_size=4).map(tuple))
    held = data.draw(st.dictionaries(texts, texts, max_size=4))
    error = data.draw(st.none() | st.builds(ErrorDetail, code=st.integers(0, 16), text=texts))
    nonce, version, node_id = data.draw(texts), data.draw(texts), data.draw(texts)
    sotw = discovery_pb2.DiscoveryRequest(type_url=CDS, resource_names=names, response_nonce=nonce, version_info=version)
    delta = discovery_pb2.DeltaDiscoveryRequest(
        type_url=CDS, resource_names_subscribe=names, resource_names_unsubscribe=gone, initial_resource_versions=held, response_nonce=nonce
    )
    for message in (sotw, delta):
        if error is not None:
            message.error_detail.code = error.code
            message.error_detail.message = error.text
        if node_id:
            message.node.id = node_id
    assert requested(sotw.SerializeToString()) == Requested(CDS, names, version, nonce, error, node_id)
    assert delta_requested(delta.SerializeToString()) == DeltaRequested(CDS, names, gone, held, nonce, error, node_id)


@settings(deadline=None, max_examples=examples(300))
@given(
    type_url=st.sampled_from([*TYPE_NAMES, "type.googleapis.com/x", ""]),
    nonce=st.text(st.characters(codec="utf-8"), max_size=150),
    change=st.none() | st.tuples(st.integers(0, 300), st.binary(max_size=3)),
)
def test_an_ack_that_is_read_by_hand_is_what_protobuf_reads(type_url: str, nonce: str, change: tuple[int, bytes] | None) -> None:
    raw = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, response_nonce=nonce).SerializeToString()
    if change is not None:
        at, put = change
        raw = raw[:at] + put + raw[at + len(put) // 2 :]
    try:
        message = discovery_pb2.DeltaDiscoveryRequest.FromString(raw)
    except DecodeError:
        with pytest.raises(ProtocolError):
            delta_requested(raw)
        return
    read = delta_requested(raw)
    assert (read.type_url, read.nonce) == (message.type_url, message.response_nonce)
    assert read.subscribe == tuple(message.resource_names_subscribe)
    assert (read.error is not None) is message.HasField("error_detail")


def test_an_ack_alone_is_read_without_protobuf(monkeypatch: pytest.MonkeyPatch) -> None:
    ack = discovery_pb2.DeltaDiscoveryRequest(type_url=EDS, response_nonce="7-1f").SerializeToString()
    monkeypatch.setattr(codec, "_parsed", None)
    assert delta_requested(ack) == DeltaRequested(EDS, nonce="7-1f")


@settings(deadline=None, max_examples=examples(300))
@given(
    message=st.builds(
        discovery_pb2.DiscoveryRequest,
        version_info=st.text(max_size=130),
        type_url=st.sampled_from([*TYPE_NAMES, "type.googleapis.com/x", ""]),
        response_nonce=st.text(st.characters(codec="utf-8"), max_size=130),
        resource_names=st.lists(st.sampled_from(["", "a", "outbound|80||a.b", EDS, f'"{chr(len(EDS))}{EDS}*']), max_size=4),
    ),
    change=st.none() | st.tuples(st.integers(-300, 300), st.binary(max_size=3)),
)
def test_a_request_for_many_names_that_is_read_by_hand_is_what_protobuf_reads(
    message: discovery_pb2.DiscoveryRequest, change: tuple[int, bytes] | None
) -> None:
    message.resource_names.extend(f"outbound|80||service-{number}" for number in range(30))
    raw = message.SerializeToString()
    if change is not None:
        at, put = change[0] % len(raw), change[1]
        raw = raw[:at] + put + raw[at + len(put) // 2 :]
    try:
        expected = codec._requested(discovery_pb2.DiscoveryRequest.FromString(raw))
    except DecodeError:
        with pytest.raises(ProtocolError):
            requested(raw)
        return
    assert requested(raw) == expected


def test_the_names_that_each_ack_says_again_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names = tuple(f"outbound|80||service-{number}" for number in range(100))
    first, second = (
        discovery_pb2.DiscoveryRequest(type_url=EDS, version_info="v", resource_names=names, response_nonce=nonce).SerializeToString()
        for nonce in ("7-1", "8-1f")
    )
    before = requested(first)
    monkeypatch.setattr(codec, "_parsed", None)
    after = requested(second)
    assert after == Requested(EDS, names, "v", "8-1f")
    assert after.names is before.names


def test_what_many_streams_ask_for_alike_is_read_once() -> None:
    held = {f"outbound|80||service-{number}": "1" for number in range(100)}
    raw = discovery_pb2.DeltaDiscoveryRequest(
        type_url=EDS, resource_names_subscribe=held, initial_resource_versions=held
    ).SerializeToString()
    first = delta_requested(bytes(bytearray(raw)))
    assert delta_requested(raw) is first
    assert first == DeltaRequested(EDS, tuple(held), initial=held)


@settings(deadline=None, max_examples=examples(300))
@given(raw=st.binary(max_size=200), variant=st.sampled_from(Variant))
def test_any_bytes_are_a_request_or_a_protocol_error(raw: bytes, variant: Variant) -> None:
    for decode in (requested, delta_requested, lambda raw: opening(variant, raw, "peer")):
        with suppress(ProtocolError):
            decode(raw)


def test_a_locator_counts_as_the_name_in_it() -> None:
    sotw = discovery_pb2.DiscoveryRequest(type_url=CDS, resource_names=["a"])
    sotw.resource_locators.add(name="b").dynamic_parameters["k"] = "v"
    delta = discovery_pb2.DeltaDiscoveryRequest(type_url=CDS)
    delta.resource_locators_subscribe.add(name="c")
    delta.resource_locators_unsubscribe.add(name="d")
    assert requested(sotw.SerializeToString()).names == ("a", "b")
    read = delta_requested(delta.SerializeToString())
    assert (read.subscribe, read.unsubscribe) == (("c",), ("d",))


def test_an_error_without_words_is_a_nack_all_the_same() -> None:
    message = discovery_pb2.DiscoveryRequest(type_url=CDS)
    message.error_detail.SetInParent()
    assert requested(message.SerializeToString()).error == ErrorDetail(0, "")


@pytest.mark.parametrize(
    ("agent", "generator", "largest"),
    [("envoy", "", None), ("gRPC C-core linux Python/C-core 58.0.0", "", 4_177_920), ("", "grpc", 4_177_920), ("", "", None)],
)
def test_a_grpc_client_takes_no_more_than_4_mib(agent: str, generator: str, largest: int | None) -> None:
    message = discovery_pb2.DeltaDiscoveryRequest(type_url=CDS)
    message.node.id = "n"
    message.node.user_agent_name = agent
    if generator:
        message.node.metadata["GENERATOR"] = generator
    first = opening(Variant.DELTA, message.SerializeToString(), "ipv4:10.0.0.1:80")
    assert first.largest == largest
    assert first.request == DeltaRequested(CDS, node_id="n")
    assert first.proxy.ip == "10.0.0.1"


def test_the_first_request_says_which_client_it_is() -> None:
    message = discovery_pb2.DiscoveryRequest(type_url=CDS)
    message.node.id = "n"
    message.node.user_agent_name = "envoy"
    version = message.node.user_agent_build_version.version
    version.major_number, version.minor_number, version.patch = 1, 40, 0
    assert opening(Variant.SOTW, message.SerializeToString(), "").agent == "envoy 1.40.0"
    message.node.user_agent_version = "2.0"
    assert opening(Variant.SOTW, message.SerializeToString(), "").agent == "envoy 2.0"
