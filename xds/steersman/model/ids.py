"""Identifiers, and the small values that stand inside many others."""

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple, NewType

import msgspec

ClusterID = NewType("ClusterID", str)
"""Name of a Kubernetes cluster, as the configuration or a proxy's CLUSTER_ID says it."""

NetworkID = NewType("NetworkID", str)
"""Name of a network. UNKNOWN_NETWORK, the empty string, is "not known": it is never equal to another network."""

Hostname = NewType("Hostname", str)
"""Fully qualified name of a service, lower case, without a trailing dot."""

SpiffeID = NewType("SpiffeID", str)
"""A full SPIFFE URI: spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT."""

UNKNOWN_NETWORK = NetworkID("")

Labels = tuple[tuple[str, str], ...]
"""Labels, annotations or selectors as (key, value), sorted by key: hashable, and equal when the maps were equal."""


def labels_of(mapping: Mapping[str, str] | None) -> Labels:
    """The sorted, hashable form of a label map; of None, no labels."""
    return _shared_labels(tuple(sorted(mapping.items()))) if mapping else ()


@lru_cache(maxsize=1 << 14)
def _shared_labels(labels: Labels) -> Labels:
    """Equal labels are one object: replicas have theirs in common."""
    return labels


def label(labels: Labels, key: str) -> str:
    """The value of one label, or the empty string where it is absent: Kubernetes treats both alike for our purposes."""
    for name, value in labels:
        if name == key:
            return value
    return ""


def selects(selector: Labels, labels: Labels) -> bool:
    """Whether every pair of the selector is among the labels. An empty selector selects nothing, as for Services."""
    return bool(selector) and set(selector) <= set(labels)


class Locality(NamedTuple):
    """Where something runs; empty parts are unknown. Sorts as "region/zone/subzone" does."""

    region: str = ""
    zone: str = ""
    subzone: str = ""

    def __str__(self) -> str:
        return "/".join(self).rstrip("/")


class Key(msgspec.Struct, frozen=True, gc=False, order=True):
    """Base of the keys that exist, or are looked up, by the thousand: next to a NamedTuple they take half the memory and a fraction of the
    time to make, and the cyclic collector does not look at them. Sort by their fields in order.

    Subclasses repeat `frozen=True, order=True`, for type checkers.
    """


class ObjectKey(Key, frozen=True, order=True):
    """A Kubernetes object of one kind. `namespace` is empty for kinds that have none."""

    cluster: ClusterID
    namespace: str
    name: str

    def __str__(self) -> str:
        return self.joined("/")

    def joined(self, separator: str) -> str:
        """Its parts, but for those that are empty."""
        return separator.join(part for part in (self.cluster, self.namespace, self.name) if part)


class ServiceKey(NamedTuple):
    """A service of the mesh: the Services of this namespace and name in all clusters are one (namespace sameness)."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class ServicePortKey(Key, frozen=True, order=True):
    """One port of a service of the mesh, by its number."""

    namespace: str
    name: str
    port: int

    @property
    def service(self) -> ServiceKey:
        return ServiceKey(self.namespace, self.name)


class IPFamily(StrEnum):
    IPV4 = "IPv4"
    IPV6 = "IPv6"


_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
"""Has one way to be written, so that it is taken as it is: addresses come by the hundred thousand, and ipaddress takes 14 us each."""


def canonical_ip(text: str) -> str | None:
    """The address as RFC 5952 writes it, unbracketed; an IPv4-mapped IPv6 address is the IPv4 one. None if it is none, or has a zone."""
    if _IPV4.fullmatch(text):
        return text
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id:
            return None
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
    return str(address)
