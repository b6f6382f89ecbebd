"""discovery.k8s.io/v1 EndpointSlice.

Of a hundred entries one changes at a time: those that are written as they were before are not read again, and are the very rows of before.
"""

from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from sys import intern
from typing import NamedTuple

import msgspec

from steersman.errors import InvalidObject
from steersman.model.facts import Severity
from steersman.model.ids import IPFamily, ObjectKey, canonical_ip
from steersman.model.objects import EndpointSlice, SliceEndpoint, SlicePort
from steersman.sources import shapes
from steersman.sources.report import Report
from steersman.sources.service import bad_address

_SERVICE_NAME = "kubernetes.io/service-name"
_IMPORTED_SERVICE_NAME = "multicluster.kubernetes.io/service-name"
_UNSPECIFIED = ("0.0.0.0", "::")
_entry = msgspec.json.Decoder(shapes.SliceEndpoint).decode


class Past(NamedTuple):
    """A slice as it was read last. `digests`: of each of its entries as written, in the order of `value.endpoints`: 64 bits, keyed by the
    process and compared within one slice only; 0 of one that is to be read anew, since something is to be said about it."""

    value: EndpointSlice | None = None
    digests: bytes = b""


NO_PAST = Past()


def endpoint_slice_of(
    key: ObjectKey, shape: shapes.EndpointSlice, report: Report, past: Past = NO_PAST
) -> tuple[EndpointSlice | None, bytes]:
    """The row of a slice, and its digests for the next time. No row for one that belongs to no Service of this cluster, or holds hostnames;
    Istio skips these too.

    An endpoint without a usable address is reported, and stays with its flaw. Raises InvalidObject for an unknown addressType, and
    msgspec.ValidationError for an entry of another shape.
    """
    labels = shape.metadata.labels or {}
    if _IMPORTED_SERVICE_NAME in labels:
        return None, b""
    service = labels.get(_SERVICE_NAME, "")
    if not service:
        report(
            "slice-without-service",
            f"the label {_SERVICE_NAME} is missing, so the slice belongs to no Service and is ignored",
            "set the label to the Service's name",
            Severity.INFO,
        )
        return None, b""
    if shape.address_type == "FQDN":
        report(
            "slice-fqdn",
            "addressType FQDN is ignored: Kubernetes gives it no meaning",
            "use a Service of type ExternalName for a hostname",
            Severity.INFO,
        )
        return None, b""
    try:
        family = IPFamily(shape.address_type or "")
    except ValueError as error:
        raise InvalidObject(f"addressType: expected IPv4, IPv6 or FQDN, got {shape.address_type!r}") from error
    endpoints, digests = _endpoints(shape.endpoints or [], family, report, past)
    row = EndpointSlice(
        key=key,
        created=shape.metadata.creation_timestamp or "",
        service=intern(service),
        family=family,
        ports=_ports(shape.ports or [], report),
        endpoints=endpoints,
    )
    return row, digests


def _ports(written: list[shapes.SlicePort], report: Report) -> tuple[SlicePort, ...]:
    ports = []
    for number, port in enumerate(written):
        if port.port is not None and not 1 <= port.port <= 65535:
            report("bad-port", f"ports[{number}].port is {port.port}, so this port is left out", "write a number from 1 to 65535")
        else:
            ports.append(SlicePort(name=intern(port.name or ""), port=port.port))
    return tuple(ports)


def _endpoints(written: list[msgspec.Raw], family: IPFamily, report: Report, past: Past) -> tuple[tuple[SliceEndpoint, ...], bytes]:
    """The rows of the entries, and the digests of these."""
    digests = array("q", list(map(hash, map(bytes, written))))
    rows: list[SliceEndpoint | None] = [None] * len(written)
    unread: Sequence[int] = range(len(written))
    if past.value is not None and past.value.family is family:
        rows, unread = _as_before(digests, past)
    for number in unread:
        said = len(report)
        rows[number] = _endpoint(number, _shape_of(number, written[number]), family, report)
        if len(report) > said:
            digests[number] = _UNKNOWN
    return tuple(rows), digests.tobytes()  # type: ignore[arg-type]  # none is None any more


def _as_before(digests: "array[int]", past: Past) -> tuple[list[SliceEndpoint | None], Sequence[int]]:
    """The rows of before of what is written as it was, None for what isn't; and the places of the latter."""
    assert past.value is not None
    there = past.value.endpoints
    both = min(len(digests), len(there))
    changed = [*islice(_differing(digests.tobytes(), past.digests, both), 2), *range(both, len(digests))]
    if len(changed) <= 1:  # nearly always
        rows: list[SliceEndpoint | None] = [*there[:both], *(None for _ in range(both, len(digests)))]
        for number in changed:
            rows[number] = None
        return rows, changed
    known: dict[int, SliceEndpoint | None] = dict(zip(array("q", past.digests), there, strict=True))
    known[_UNKNOWN] = None  # something has gone, and others have moved up
    rows = [known.get(digest) for digest in digests]
    return rows, [number for number, row in enumerate(rows) if row is None]


def _differing(now: bytes, before: bytes, count: int) -> Iterator[int]:
    """Which of the first digests aren't the same, the last of them first. Compared all at once: one by one takes three times as long."""
    size = _DIGEST_BYTES * count
    differs = int.from_bytes(now[:size], "little") ^ int.from_bytes(before[:size], "little")
    while differs:
        place = (differs.bit_length() - 1) // _DIGEST_BITS
        yield place
        differs &= (1 << _DIGEST_BITS * place) - 1


_DIGEST_BYTES, _DIGEST_BITS = 8, 64
_UNKNOWN = 0


def _shape_of(number: int, entry: msgspec.Raw) -> shapes.SliceEndpoint:
    """Raises ValidationError, which says where in the slice, and DecodeError."""
    try:
        return _entry(entry)
    except msgspec.ValidationError as error:
        expected, _, path = str(error).partition(" - at `$")
        raise msgspec.ValidationError(f"{expected} - at `$.endpoints[{number}]{path or '`'}") from error


def _endpoint(number: int, shape: shapes.SliceEndpoint, family: IPFamily, report: Report) -> SliceEndpoint:
    address, flaw = _first_address(number, shape.addresses or [], family, report)
    conditions = shape.conditions
    target = shape.target_ref
    return SliceEndpoint.of(
        address,
        pod=(target.name or "") if target is not None and target.kind == "Pod" else "",
        node=shape.node_name or "",
        zone=shape.zone or "",
        flaw=flaw,
        ready=conditions is None or conditions.ready is not False,
        serving=conditions is None or conditions.serving is not False,
        terminating=conditions is not None and conditions.terminating is True,
    )


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
