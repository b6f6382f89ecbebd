"""discovery.k8s.io/v1 EndpointSlice -> row."""

from typing import Any

import pytest

from steersman.model.facts import Severity
from steersman.model.ids import ClusterID, IPFamily, ObjectKey
from steersman.model.objects import EndpointSlice, SliceEndpoint, SlicePort
from steersman.sources.decode import Decoded, InvalidField
from tests.sources.decoding import complaints, made


def sliced(*endpoints: Any, family: str | None = "IPv4", labels: Any = None, **fields: Any) -> Decoded:
    labels = {"kubernetes.io/service-name": "reviews"} if labels is None else labels
    return made("EndpointSlice", "discovery.k8s.io/v1", meta={"labels": labels}, addressType=family, endpoints=list(endpoints), **fields)


def addresses(decoded: Decoded) -> list[str]:
    return [endpoint.address for endpoint in decoded.value.endpoints]


def test_a_slice_as_the_api_server_prints_it_is_kept_as_far_as_proxies_see_it() -> None:
    decoded = sliced(
        {
            "addresses": ["10.0.0.1", "10.0.0.2"],
            "conditions": {"ready": False, "serving": True, "terminating": True},
            "hostname": "web-0",
            "nodeName": "node-1",
            "targetRef": {"kind": "Pod", "name": "web-0", "namespace": "ns", "uid": "u"},
            "zone": "z1",
            "hints": {"forZones": [{"name": "z1"}]},
        },
        {"addresses": ["10.0.0.3"], "conditions": {}, "targetRef": {"kind": "Node", "name": "n"}},
        {"addresses": ["10.0.0.4"], "conditions": {"ready": None, "serving": None, "terminating": None}},
        {"addresses": ["10.0.0.5"], "conditions": {"ready": True, "serving": False}},
        ports=[{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": None, "port": None}],
    )
    assert decoded.complaints == ()
    assert decoded.value == EndpointSlice.of(
        ObjectKey(ClusterID("east"), "ns", "a"),
        service="reviews",
        family=IPFamily.IPV4,
        ports=(SlicePort(name="http", port=8080), SlicePort(name="", port=None)),
        endpoints=(
            SliceEndpoint.of("10.0.0.1", ready=False, terminating=True, node="node-1", zone="z1", pod="web-0"),
            SliceEndpoint.of("10.0.0.3"),
            SliceEndpoint.of("10.0.0.4"),
            SliceEndpoint.of("10.0.0.5", serving=False),
        ),
    )


def test_null_lists_are_empty() -> None:
    decoded = made(
        "EndpointSlice",
        "discovery.k8s.io/v1",
        addressType="IPv4",
        endpoints=None,
        ports=None,
        meta={"labels": {"kubernetes.io/service-name": "s"}},
    )
    assert (decoded.value.endpoints, decoded.value.ports, decoded.complaints) == ((), (), ())


@pytest.mark.parametrize(
    ("endpoint", "kept", "cause"),
    [
        ({"addresses": ["nope"]}, "nope", "endpoints[1].addresses[0] is 'nope'"),
        ({"addresses": ["nope", "0.0.0.0"]}, "nope", "endpoints[1].addresses[0] is 'nope'"),
        ({"addresses": [None]}, "", "endpoints[1].addresses[0] is None"),
        ({"addresses": [""]}, "", "endpoints[1].addresses[0] is ''"),
        ({"addresses": ["0.0.0.0"]}, "0.0.0.0", "endpoints[1].addresses[0] is '0.0.0.0'"),
        ({"addresses": ["10.0.0.01"]}, "10.0.0.01", "endpoints[1].addresses[0] is '10.0.0.01'"),
        ({"addresses": ["FD00::1"]}, "FD00::1", "endpoints[1].addresses[0] is 'FD00::1' in a slice of addressType IPv4"),
        ({"addresses": []}, "", "endpoints[1] has no address"),
        ({"addresses": None}, "", "endpoints[1] has no address"),
        ({}, "", "endpoints[1] has no address"),
    ],
)
def test_an_endpoint_without_a_usable_address_is_kept_as_written_with_its_flaw(endpoint: Any, kept: str, cause: str) -> None:
    decoded = sliced({"addresses": ["10.0.0.1"]}, endpoint, {"addresses": ["10.0.0.2"]})
    assert addresses(decoded) == ["10.0.0.1", kept, "10.0.0.2"]
    assert [bool(listed.flaw) for listed in decoded.value.endpoints] == [False, True, False]
    assert list(complaints(decoded)) == ["bad-address"]
    assert complaints(decoded)["bad-address"].startswith(cause)


def test_what_entries_have_in_common_is_one_object() -> None:
    entries = ({"addresses": [f"10.0.0.{number}"], "nodeName": "n"} for number in (1, 2))
    one, two = sliced(*entries).value.members.places
    assert one is two


def test_the_next_address_of_an_endpoint_stands_in_for_a_bad_one() -> None:
    decoded = sliced({"addresses": ["nope", "10.0.0.1"]})
    assert addresses(decoded) == ["10.0.0.1"]
    assert list(complaints(decoded)) == ["bad-address"]


def test_addresses_are_canonical() -> None:
    assert addresses(sliced({"addresses": ["2001:DB8:0:0::1"]}, {"addresses": ["::ffff:10.0.0.1"]}, family="IPv6")) == [
        "2001:db8::1",
        "10.0.0.1",
    ]
    assert addresses(sliced({"addresses": ["::ffff:10.0.0.1"]})) == ["10.0.0.1"]


def test_a_bad_port_costs_only_itself() -> None:
    decoded = sliced(ports=[{"name": "a", "port": 0}, {"name": "b", "port": 1}])
    assert decoded.value.ports == (SlicePort(name="b", port=1),)
    assert complaints(decoded) == {"bad-port": "ports[0].port is 0, so this port is left out"}


def test_slices_of_hostnames_and_of_no_service_are_ignored_and_told() -> None:
    for decoded, finding in [(sliced(family="FQDN"), "slice-fqdn"), (sliced(labels={}), "slice-without-service")]:
        assert decoded.value is None
        assert [(complaint.id, complaint.severity) for complaint in decoded.complaints] == [(finding, Severity.INFO)]


def test_slices_imported_from_other_clusters_are_left_out() -> None:
    decoded = sliced(labels={"multicluster.kubernetes.io/service-name": "reviews", "kubernetes.io/service-name": "derived"})
    assert (decoded.value, decoded.complaints) == (None, ())


@pytest.mark.parametrize("family", ["ipv4", "", None])
def test_an_unknown_address_type_makes_the_slice_invalid(family: str | None) -> None:
    with pytest.raises(InvalidField, match="EndpointSlice east/ns/a: addressType: expected IPv4, IPv6 or FQDN"):
        sliced(family=family)


def test_an_entry_of_another_shape_is_named_by_its_place() -> None:
    with pytest.raises(InvalidField, match=r"EndpointSlice east/ns/a: endpoints\[1\]: expected `object`, got `null`"):
        sliced({"addresses": ["10.0.0.1"]}, None)
    with pytest.raises(InvalidField, match=r"endpoints\[1\].conditions.ready: expected `bool \| null`, got `str`"):
        sliced({"addresses": ["10.0.0.1"]}, {"conditions": {"ready": "yes"}})
