"""The two address families of a Service: which is the first, and which of its Pods stand in EndpointSlices of both."""

from collections.abc import Iterable, Iterator

from steersman.graph import Reader
from steersman.model.ids import IPFamily, ObjectKey
from steersman.model.objects import CONDITIONS, Service
from steersman.registry.addresses import parse_address
from steersman.registry.collections import SLICES, SLICES_OF_FAMILY, FamilyKey


def first_family(service: Service) -> IPFamily:
    """The family that a Service names first; of one that names none, that of its first ClusterIP, else IPv4."""
    if service.families:
        return service.families[0]
    address = parse_address(service.cluster_ips[0]) if service.cluster_ips else None
    return address.family if address is not None else IPFamily.IPV4


def twins(read: Reader, service: ObjectKey) -> frozenset[str]:
    """The names of the Pods that stand, ready, in a Service's slices of both families. Of a Service of one family no slice is read."""
    of_v6 = read(SLICES_OF_FAMILY, FamilyKey(service, IPFamily.IPV6))
    of_v4 = read(SLICES_OF_FAMILY, FamilyKey(service, IPFamily.IPV4)) if of_v6 else ()
    return frozenset(_ready_in(read, of_v4)).intersection(_ready_in(read, of_v6)) if of_v4 else _NO_PODS


_NO_PODS: frozenset[str] = frozenset()
"""Nearly every Service's: one for all."""


def _ready_in(read: Reader, slices: Iterable[ObjectKey]) -> Iterator[str]:
    for key in slices:
        piece = read(SLICES, key)
        if piece is not None:
            entries = zip(piece.members.pods, piece.members.places, piece.conditions, strict=True)
            yield from [pod for pod, place, code in entries if pod and CONDITIONS[code].ready and not place.flaw]
