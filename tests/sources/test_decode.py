"""Which objects are used, and how those that can't be are named."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steersman.errors import InvalidObject
from steersman.model.facts import Severity
from steersman.sources.decode import Decoded, Ignored, InvalidField, decode, invalid
from tests.sources.decoding import EAST, made

KINDS = [
    *(("v1", kind) for kind in ("Service", "Pod", "Node", "Namespace")),
    ("discovery.k8s.io/v1", "EndpointSlice"),
    *((f"networking.istio.io/{version}", "Gateway") for version in ("v1", "v1beta1", "v1alpha3")),
]


@pytest.mark.parametrize(
    ("api_version", "kind", "instead"),
    [
        ("apps/v1", "Deployment", ""),
        ("v1", "Endpoints", ""),
        ("gateway.networking.k8s.io/v1", "Gateway", ""),
        ("discovery.k8s.io/v1beta1", "EndpointSlice", "discovery.k8s.io/v1"),
        ("networking.istio.io/v2", "Gateway", "networking.istio.io/v1"),
        ("v2", "Pod", "v1"),
        ("apps/v1", "Pod", ""),
    ],
)
def test_other_kinds_are_ignored_unread(api_version: str, kind: str, instead: str) -> None:
    assert decode(EAST, api_version, kind, b'{"metadata": 5}') == Ignored(api_version=api_version, kind=kind, instead=instead)


@pytest.mark.parametrize(
    ("api_version", "kind", "fields", "message"),
    [
        (
            "v1",
            "Service",
            {"spec": {"ports": [{"port": 1}, {"port": "80"}]}},
            "Service east/ns/a: spec.ports[1].port: expected `int`, got `str`",
        ),
        ("v1", "Service", {"spec": {"ports": [{}]}}, "Service east/ns/a: spec.ports[0]: object missing required field `port`"),
        ("v1", "Service", {"spec": []}, "Service east/ns/a: spec: expected `object | null`, got `array`"),
        ("v1", "Service", {"spec": {"selector": {"app": "x", "v": 1}}}, "Service east/ns/a: spec.selector[v]: expected `str`, got `int`"),
        ("v1", "Pod", {"status": {"podIPs": [{"ip": 5}]}}, "Pod east/ns/a: status.podIPs[0].ip: expected `str | null`, got `int`"),
        ("v1", "Pod", {"meta": {"labels": {"a": "b", "x": True}}}, "Pod east/?: metadata.labels[x]: expected `str`, got `bool`"),
        ("v1", "Pod", {"name": "Upper"}, "Pod east/ns/Upper: metadata.name: expected a lower-case DNS name, got 'Upper'"),
        ("v1", "Pod", {"name": ""}, "Pod east/ns/?: metadata.name: expected a lower-case DNS name, got ''"),
        ("v1", "Service", {"name": "a.b"}, "Service east/ns/a.b: metadata.name: expected a lower-case DNS name, got 'a.b'"),
        ("v1", "Pod", {"namespace": "a|b"}, "Pod east/a|b/a: metadata.namespace: expected a lower-case DNS label, got 'a|b'"),
        (
            "v1",
            "Pod",
            {"spec": {"serviceAccountName": "a/../b"}},
            "Pod east/ns/a: spec.serviceAccountName: expected a lower-case DNS name, got",
        ),
        ("", "Pod", {}, "Pod east/ns/a: apiVersion: expected a text, such as v1 and Service"),
        ("v1", "", {}, "object east/ns/a: kind: expected a text, such as v1 and Service"),
        (
            "discovery.k8s.io/v1",
            "EndpointSlice",
            {
                "meta": {"labels": {"kubernetes.io/service-name": "a"}},
                "addressType": "IPv4",
                "endpoints": [{}, {"addresses": "10.0.0.1"}],
            },
            "EndpointSlice east/ns/a: endpoints[1].addresses: expected `array | null`",
        ),
        (
            "networking.istio.io/v1",
            "Gateway",
            {"spec": {"servers": [{"port": {"number": "443"}}]}},
            "spec.servers[0].port.number: expected `int",
        ),
    ],
)
def test_a_wrong_type_names_the_object_the_field_and_what_was_expected(api_version: str, kind: str, fields: Any, message: str) -> None:
    with pytest.raises(InvalidField) as caught:
        made(kind, api_version, **fields)
    assert message in str(caught.value)
    complaint = invalid(caught.value)
    assert (complaint.id, complaint.severity) == ("invalid-object", Severity.ERROR)
    assert complaint.cause.startswith(caught.value.path)


def test_an_object_without_metadata_is_invalid() -> None:
    with pytest.raises(InvalidField, match=r"Pod east/\?: object missing required field `metadata`"):
        decode(EAST, "v1", "Pod", b"{}")


def test_a_name_may_have_dots_where_kubernetes_allows_them() -> None:
    assert made("Pod", name="web-0.a").key.name == "web-0.a"


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "a", "10.0.0.1", "IPv4", "None"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "spec",
                    "status",
                    "ports",
                    "port",
                    "labels",
                    "annotations",
                    "name",
                    "endpoints",
                    "addresses",
                    "addressType",
                    "servers",
                    "hosts",
                    "ip",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@given(
    st.sampled_from(KINDS), st.dictionaries(st.sampled_from(["spec", "status", "endpoints", "ports", "addressType", "metadata"]), ANYTHING)
)
@settings(deadline=None)
def test_no_object_ends_in_anything_but_a_row_or_invalid_object(kind: tuple[str, str], body: dict[str, Any]) -> None:
    body.setdefault("metadata", {"name": "a"})
    try:
        result = decode(EAST, *kind, json.dumps(body).encode())
    except InvalidObject:
        return
    assert isinstance(result, Decoded)
    assert result.key.cluster == EAST
    assert all(complaint.cause and complaint.remedy for complaint in result.complaints)
