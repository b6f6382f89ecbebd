"""Requests of every shape, at tables that change: none breaks anything, leaves more behind than it says, or costs more than it is."""

from typing import Any

from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest
from google.protobuf import struct_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steersman.ads.messages import Variant
from steersman.ads.node import _OURS
from tests.fuzz.subject import NAMES, TYPES, Subject
from tests.support.examples import examples

odd = st.sampled_from(("", "*", "é\u0000", "x" * 300, "xdstp://a/b?c=d", "a,b", " a ", "default", "0"))
names = st.lists(st.sampled_from(NAMES) | odd, max_size=6)
types = st.sampled_from(TYPES) | st.sampled_from(("", "type.googleapis.com/some.Thing", "t" * 500))
texts = st.text(max_size=20) | odd | st.sampled_from(("east", "10.0.0.1", "::1", "fe80::1%eth0", "true", "REDIRECT", "grpc", "a" * 5_000))


def listed(items: list[Any]) -> Any:
    return struct_pb2.Value(list_value=struct_pb2.ListValue(values=items))


def mapped(fields: dict[str, Any]) -> Any:
    return struct_pb2.Value(struct_value=struct_pb2.Struct(fields=fields))


values: Any = st.recursive(
    st.one_of(
        st.builds(lambda text: struct_pb2.Value(string_value=text), texts),
        st.builds(lambda number: struct_pb2.Value(number_value=number), st.floats()),
        st.builds(lambda flag: struct_pb2.Value(bool_value=flag), st.booleans()),
        st.just(struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)),
        st.just(struct_pb2.Value()),
    ),
    lambda inner: st.builds(listed, st.lists(inner, max_size=4)) | st.builds(mapped, st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    """A Node with metadata that mean something here, of any kind."""
    node_id = draw(st.sampled_from(("n", "sidecar~10.0.0.1~a.b~c", "router~x~y~z", "~~~", "", "i" * 2_000)) | st.text(max_size=8))
    node = Node(id=node_id, cluster=draw(texts), user_agent_name=draw(texts), client_features=draw(st.lists(texts, max_size=2)))
    node.locality.region = draw(texts)
    for key, value in draw(st.dictionaries(st.sampled_from(sorted(_OURS)) | texts, values, max_size=6)).items():
        node.metadata.fields[key].CopyFrom(value)
    return node


@st.composite
def requests(draw: st.DrawFn, variant: Variant) -> tuple[Any, bool]:
    """A request, and whether its nonce is to be that of the last response of its type."""
    version = draw(st.sampled_from(("", "1", "v" * 200)))
    message: Any
    if variant is Variant.DELTA:
        message = DeltaDiscoveryRequest(resource_names_subscribe=draw(names), resource_names_unsubscribe=draw(names))
        message.initial_resource_versions.update(draw(st.dictionaries(st.sampled_from(NAMES) | odd, st.just(version), max_size=4)))
        for name in draw(st.lists(st.sampled_from(NAMES), max_size=2)):
            message.resource_locators_subscribe.add(name=name)
    else:
        message = DiscoveryRequest(resource_names=draw(names), version_info=version)
    message.type_url = draw(types)
    message.response_nonce = draw(st.sampled_from(("", "1", "2", "nonce")) | texts)
    if draw(st.booleans()):
        message.error_detail.code = draw(st.integers(-5, 20))
        message.error_detail.message = draw(texts | st.sampled_from(("a", "a b", "c: bad")))
    if draw(st.integers(0, 9)) == 0:
        message.node.CopyFrom(draw(nodes()))
    return message, draw(st.booleans())


@st.composite
def histories(draw: st.DrawFn) -> tuple[Variant, Node, list[Any]]:
    variant = draw(st.sampled_from(list(Variant)))
    steps = draw(st.lists(requests(variant) | st.integers(0, 499), min_size=1, max_size=20))
    return variant, Node(id="n"), steps


def play(subject: Subject, node: Node, steps: list[Any]) -> None:
    for step in steps:
        if isinstance(step, int):
            subject.changes(step)
            continue
        message, answering = step
        if answering and message.type_url in subject.nonces:
            message.response_nonce = subject.nonces[message.type_url]
        if subject.stream is None:
            first = type(message)()
            first.CopyFrom(message)
            first.node.CopyFrom(node)
            message = first
        subject.says(message.SerializeToString())


@settings(deadline=None, max_examples=examples(150), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(histories())
def test_no_history_of_requests_and_changes_breaks_anything_or_costs_more_than_it_is(history: tuple[Variant, Node, list[Any]]) -> None:
    variant, node, steps = history
    play(Subject(variant, measured=True), node, steps)


@settings(deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(histories())
def test_the_same_again_and_again_leaves_nothing_more_behind(history: tuple[Variant, Node, list[Any]]) -> None:
    variant, node, steps = history
    subject = Subject(variant)
    kept = []
    for _ in range(4):
        play(subject, node, steps)
        kept.append(subject.kept())
    assert kept[3] <= max(kept[1], kept[2])


@settings(deadline=None, max_examples=examples(200), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(nodes(), st.sampled_from(list(Variant)), types)
def test_no_node_breaks_anything_or_is_kept_beyond_bounds(node: Node, variant: Variant, type_url: str) -> None:
    kind = DeltaDiscoveryRequest if variant is Variant.DELTA else DiscoveryRequest
    subject = Subject(variant, measured=True)
    subject.says(kind(node=node, type_url=type_url).SerializeToString())


@settings(deadline=None, max_examples=examples(200))
@given(st.sampled_from(list(Variant)), st.binary(max_size=200), st.booleans())
def test_no_bytes_break_anything(variant: Variant, raw: bytes, opened: bool) -> None:
    subject = Subject(variant, measured=True)
    if opened:
        kind = DeltaDiscoveryRequest if variant is Variant.DELTA else DiscoveryRequest
        subject.says(kind(node=Node(id="n"), type_url=TYPES[0]).SerializeToString())
    subject.says(raw)
