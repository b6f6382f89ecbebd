"""Addresses as they stand in objects."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steersman.registry.addresses import canonical_family, parse_address, parse_range
from tests.support.mesh import V4, V6


@pytest.mark.parametrize(
    ("text", "canonical", "family"),
    [
        ("10.0.0.1", "10.0.0.1", V4),
        ("127.0.0.9", "127.0.0.9", V4),
        ("2001:DB8:0:0::1", "2001:db8::1", V6),
        ("::ffff:192.0.2.1", "192.0.2.1", V4),
        ("::1", "::1", V6),
    ],
)
def test_an_address_has_one_text(text: str, canonical: str, family: str) -> None:
    address = parse_address(text)
    assert address is not None
    assert (address.text, address.family) == (canonical, family)


@pytest.mark.parametrize(
    "text",
    [
        *("", "no-ip", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1/8", " 10.0.0.1", "10.0.0.1\0", "[::1]", "fe80::1%eth0"),
        *("0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1", "::ffff:0.0.0.0", "\N{FULLWIDTH DIGIT ONE}0.0.0.1"),
    ],
)
def test_what_no_host_can_have_is_no_address(text: str) -> None:
    assert parse_address(text) is None
    assert canonical_family(text) is None


@given(st.ip_addresses())
@settings(deadline=None)
def test_an_address_survives_being_parsed(address: IPv4Address | IPv6Address) -> None:
    parsed = parse_address(str(address))
    if parsed is not None:
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        assert ip_address(parsed.text) == (mapped or address)
        assert parse_address(parsed.text) == parsed
        assert canonical_family(str(address)) == (parsed.family if parsed.text == str(address) else None)
        assert canonical_family(parsed.text) is parsed.family
    else:
        assert (
            address.is_multicast
            or address.is_unspecified
            or address.is_reserved
            or address in ip_network("0.0.0.0/8")
            or mapped_of(address)
        )


def mapped_of(address: IPv4Address | IPv6Address) -> bool:
    return isinstance(address, IPv6Address) and address.ipv4_mapped is not None


def test_a_range_holds_both_its_ends_and_nothing_of_the_other_family() -> None:
    ten = parse_range("10.1.0.0/16")
    inside = [text for text in ("10.0.255.255", "10.1.0.0", "10.1.255.255", "10.2.0.0", "a01::") if _packed(text) in ten]
    assert inside == ["10.1.0.0", "10.1.255.255"]


def _packed(text: str) -> bytes:
    address = parse_address(text)
    assert address is not None
    return address.packed
