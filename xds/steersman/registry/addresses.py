"""IP addresses as they stand in objects: canonical text and family, or nothing."""

from functools import lru_cache
from ipaddress import ip_network
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import NamedTuple

from steersman.model.ids import IPFamily

_MAPPED = bytes(10) + b"\xff\xff"


class Address(NamedTuple):
    """An address that a host can have. `text`: canonical (RFC 5952), unbracketed; an IPv4-mapped IPv6 address is the IPv4 address that it
    means."""

    text: str
    family: IPFamily
    packed: bytes


def parse_address(text: str) -> Address | None:
    """The address that this text means; None where it is none, or one that no host has (unspecified, multicast) or that only one host
    understands (with a zone)."""
    try:
        packed = inet_pton(AF_INET, text)
    except (OSError, ValueError):
        return _parse_v6(text)
    return Address(text, IPFamily.IPV4, packed) if _is_host_v4(packed) else None


def canonical_family(text: str) -> IPFamily | None:
    """The family of a host's address in its canonical form; None for any other text. Fast, for what exists by the hundred thousand."""
    if ":" in text:
        address = _parse_v6(text)
        return address.family if address is not None and address.text == text else None
    try:
        packed = inet_pton(AF_INET, text)
    except (OSError, ValueError):
        return None
    return _V4 if 0 < packed[0] < 224 or _is_host_v4(packed) else None


_V4 = IPFamily.IPV4
"""To look a member up in its enum takes as long as all else of this."""


@lru_cache(maxsize=1 << 14)
def _parse_v6(text: str) -> Address | None:
    try:
        packed = inet_pton(AF_INET6, text)
    except (OSError, ValueError):
        return None
    if packed.startswith(_MAPPED):
        return parse_address(inet_ntop(AF_INET, packed[12:]))
    if packed[0] == 0xFF or not any(packed):
        return None
    return Address(inet_ntop(AF_INET6, packed), IPFamily.IPV6, packed)


def _is_host_v4(packed: bytes) -> bool:
    """Not in 0/8 ("this network"), not multicast, not the broadcast address. Text that inet_pton takes for IPv4 is canonical."""
    return packed[0] != 0 and not 224 <= packed[0] < 240 and packed != b"\xff\xff\xff\xff"


class AddressRange(NamedTuple):
    """A CIDR, both ends included, as packed addresses of one family: they compare only with addresses of equal length."""

    first: bytes
    last: bytes

    def __contains__(self, packed: object) -> bool:
        return isinstance(packed, bytes) and len(packed) == len(self.first) and self.first <= packed <= self.last


def parse_range(cidr: str) -> AddressRange:
    """The range of a CIDR that the settings have checked."""
    network = ip_network(cidr, strict=False)
    return AddressRange(network[0].packed, network[-1].packed)
