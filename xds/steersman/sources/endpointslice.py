"""discovery.k8s.io/v1 EndpointSlice.

Of a hundred entries one changes at a time: those that a Written slice says are as they were are not read again, and
what they are stays where it stood.
"""

from sys import intern
from typing import NamedTuple, Self, TypeVar

import msgspec

from steersman.errors import InvalidObject
from steersman.model.facts import Severity
from steersman.model.ids import IPFamily, ObjectKey, canonical_ip
from steersman.model.objects import READY, EndpointPlace, EndpointSlice, SliceMembers, SlicePort, conditions_code, endpoint_place
from steersman.sources import shapes
from steersman.sources.blocks import Blocks, unknown
from steersman.sources.report import Report
from steersman.sources.service import bad_address

_SERVICE_NAME = "kubernetes.io/service-name"
_IMPORTED_SERVICE_NAME = "multicluster.kubernetes.io/service-name"
_UNSPECIFIED = ("0.0.0.0", "::")
_entry = msgspec.json.Decoder(shapes.SliceEndpoint).decode

T = TypeVar("T")
_Line = tuple[str, str, EndpointPlace, int]
"""An entry: address, pod, place, and the code of its conditions."""


class Past(NamedTuple):
    """A slice as it was read last, and its entries as they were written."""

    value: EndpointSlice
    blocks: Blocks


class Written(shapes.EndpointSlice):
    """A slice as its text tells it. `blocks`: of its entries; None where that can't be said. What is written as it was in `before` isn't in
    `endpoints`: its first entries are the first of that, its last the last, so many."""

    blocks: Blocks | None = None
    before: EndpointSlice | None = None
    first: int = 0
    last: int = 0

    @classmethod
    def of(
        cls, shape: shapes.EndpointSlice, blocks: Blocks | None, before: EndpointSlice | None = None, first: int = 0, last: int = 0
    ) -> Self:
        return cls(shape.metadata, shape.address_type, shape.ports, shape.endpoints, blocks, before, first, last)


def endpoint_slice_of(key: ObjectKey, shape: shapes.EndpointSlice, report: Report) -> tuple[EndpointSlice | None, Blocks | None]:
    """The row of a slice, and its entries as they are written, as far as they needn't be read again while they are so. No row for one that
    belongs to no Service of this cluster, or holds hostnames; Istio skips these too.

    An endpoint without a usable address is reported, and stays with its flaw. Raises InvalidObject for an unknown addressType, and
    msgspec.ValidationError for an entry of another shape.
    """
    labels = shape.metadata.labels or {}
    if _IMPORTED_SERVICE_NAME in labels:
        return None, None
    service = labels.get(_SERVICE_NAME, "")
    if not service:
        report(
            "slice-without-service",
            f"the label {_SERVICE_NAME} is missing, so the slice belongs to no Service and is ignored",
            "set the label to the Service's name",
            Severity.INFO,
        )
        return None, None
    if shape.address_type == "FQDN":
        report(
            "slice-fqdn",
            "addressType FQDN is ignored: Kubernetes gives it no meaning",
            "use a Service of type ExternalName for a hostname",
            Severity.INFO,
        )
        return None, None
    try:
        family = IPFamily(shape.address_type or "")
    except ValueError as error:
        raise InvalidObject(f"addressType: expected IPv4, IPv6 or FQDN, got {shape.address_type!r}") from error
    read, blocks = _read(shape, family, report)
    ports = _ports(shape.ports or [], report)
    addresses, pods, places, said = zip(*read, strict=True) if read else _NO_COLUMNS
    members = SliceMembers(service=intern(service), family=family, ports=ports, addresses=addresses, pods=pods, places=places)
    conditions = bytes(said)
    if isinstance(shape, Written) and shape.before is not None:
        members, conditions = _joined(shape.before, shape.first, shape.last, members, conditions)
    return EndpointSlice(key=key, created=shape.metadata.creation_timestamp or "", members=members, conditions=conditions), blocks


def _ports(written: list[shapes.SlicePort], report: Report) -> tuple[SlicePort, ...]:
    ports = []
    for number, port in enumerate(written):
        if port.port is not None and not 1 <= port.port <= 65535:
            report("bad-port", f"ports[{number}].port is {port.port}, so this port is left out", "write a number from 1 to 65535")
        else:
            ports.append(SlicePort(name=intern(port.name or ""), port=port.port))
    return tuple(ports)


_NO_COLUMNS: tuple[tuple[str, ...], tuple[str, ...], tuple[EndpointPlace, ...], tuple[int, ...]] = (), (), (), ()


def _read(shape: shapes.EndpointSlice, family: IPFamily, report: Report) -> tuple[list[_Line], Blocks | None]:
    """The entries that are to be read."""
    first, blocks = (shape.first, shape.blocks) if isinstance(shape, Written) else (0, None)
    read = []
    flawed = []
    for number, entry in enumerate(shape.endpoints or [], first):
        said = len(report)
        read.append(_endpoint(number, _shape_of(number, entry), family, report))
        if len(report) > said:
            flawed.append(number)
    if flawed and blocks is not None:
        blocks = unknown(blocks, flawed)  # it is said again each time
    return read, blocks


def _joined(before: EndpointSlice, first: int, last: int, read: SliceMembers, conditions: bytes) -> tuple[SliceMembers, bytes]:
    """What was read, between so many of the first and of the last entries of before. A column in which nothing changed is the very one of
    before, and so are the members where all are so."""
    there, stop = before.members, len(before.conditions) - last
    members = SliceMembers(
        service=read.service,
        family=read.family,
        ports=read.ports,
        addresses=_column(there.addresses, first, stop, read.addresses),
        pods=_column(there.pods, first, stop, read.pods),
        places=_column(there.places, first, stop, read.places),
    )
    return there if members == there else members, before.conditions[:first] + conditions + before.conditions[stop:]


def _column(there: tuple[T, ...], first: int, stop: int, read: tuple[T, ...]) -> tuple[T, ...]:
    return there if there[first:stop] == read else (*there[:first], *read, *there[stop:])


def _shape_of(number: int, entry: msgspec.Raw) -> shapes.SliceEndpoint:
    """Raises ValidationError, which says where in the slice, and DecodeError."""
    try:
        return _entry(entry)
    except msgspec.ValidationError as error:
        expected, _, path = str(error).partition(" - at `$")
        raise msgspec.ValidationError(f"{expected} - at `$.endpoints[{number}]{path or '`'}") from error


def _endpoint(number: int, shape: shapes.SliceEndpoint, family: IPFamily, report: Report) -> _Line:
    address, flaw = _first_address(number, shape.addresses or [], family, report)
    conditions = shape.conditions
    target = shape.target_ref
    pod = (target.name or "") if target is not None and target.kind == "Pod" else ""
    said = READY
    if conditions is not None:
        said = conditions_code(conditions.ready is not False, conditions.serving is not False, conditions.terminating is True)
    return address, pod, endpoint_place(shape.node_name or "", shape.zone or "", flaw), said


def _first_address(number: int, texts: list[str | None], family: IPFamily, report: Report) -> tuple[str, str]:
    """The first of an endpoint's addresses that can be used, and ""; those after it are not looked at. Where there is none, the first as
    written, and what is wrong with it."""
    first = texts[0] if texts else None
    if first and family is IPFamily.IPV4 and ":" not in first and canonical_ip(first) == first and first not in _UNSPECIFIED:
        return first, ""  # nearly all
    flaws = []
    for place, text in enumerate(texts):
        path = f"endpoints[{number}].addresses[{place}]"
        address = canonical_ip(text) if text else None
        if address is None or address in _UNSPECIFIED:
            bad_address(path, text, report)
            flaws.append(f"{text!r} is no address of a host")
        elif text is not None and (family is IPFamily.IPV6) not in (":" in text, ":" in address):
            flaw = f"is {text!r} in a slice of addressType {family}"
            report("bad-address", f"{path} {flaw}, and is left out", "put it into a slice of its own family")
            flaws.append(f"the address {flaw}")
        else:
            return address, ""
    if not texts:
        report("bad-address", f"endpoints[{number}] has no address, and is left out", "write its IP address")
        flaws.append("the entry has no address")
    return first or "", flaws[0]
