"""An explanation as text."""

from collections.abc import Iterable, Iterator

from steersman.admin import inspect_pb2 as pb
from steersman.cli.output import table

COLUMNS = ("ENDPOINT", "IN", "RULE", "VIA", "WEIGHT", "POD", "CLUSTER", "NETWORK", "LOCALITY", "WHY")
LOAD_COLUMNS = ("TO LOCALITY", "ISSUED", "SUCCEEDED", "FAILED", "IN PROGRESS")


def text_of(explanation: pb.Explanation, *, facts: bool) -> str:
    """Where the proxy stands, the service, then one table a port."""
    return "\n".join(
        [
            *_proxy(explanation),
            *_service(explanation),
            *(text for port in explanation.ports for text in _port(port, explanation.load_reports, facts=facts)),
        ]
    )


def _proxy(explanation: pb.Explanation) -> Iterator[str]:
    at = explanation.standpoint
    yield f"PROXY {explanation.proxy}"
    for title, value in (
        ("cluster", at.cluster or "unknown"),
        ("network", at.network or "unknown"),
        ("namespace", at.namespace),
        ("locality", at.locality or "unknown"),
        ("addresses", ", ".join(at.families)),
        ("sees", ", ".join(at.view) or "all networks"),
    ):
        yield f"  {title:<10} {value}"
    for words in at.inferred:
        yield f"  inferred   {words}"
    if explanation.HasField("load_reports") and (words := _no_load(explanation.load_reports)):
        yield f"  load       {words}"


def _service(explanation: pb.Explanation) -> Iterator[str]:
    yield ""
    yield f"SERVICE {explanation.service}"
    for reference in explanation.services:
        yield f"  {_referred(reference)}"
    for note in explanation.notes:
        yield f"  note: {note}"


def _no_load(reports: pb.LoadReports) -> str:
    """Why nothing is known of what this proxy sends; "" where it is."""
    if not reports.open:
        return "no load reports: this proxy has no stream for them (steersman bootstrap --load-reports)"
    if not reports.HasField("last"):
        return "no load reports yet"
    return "" if reports.seconds else f"no load reports since {reports.last.ToJsonString()}"


def _port(port: pb.PortExplanation, reports: pb.LoadReports, *, facts: bool) -> Iterator[str]:
    yield ""
    yield f"PORT {port.port}{f' {port.name}' if port.name else ''} ({port.protocol}), Envoy cluster {port.cluster}"
    for note in port.notes:
        yield f"  note: {note}"
    if port.candidates:
        yield table(COLUMNS, (_candidate(candidate) for candidate in port.candidates)).rstrip("\n")
    else:
        yield "  no endpoint in any cluster"
    for gateway in port.gateways:
        at = _joined(gateway.address, gateway.port)
        yield f"  gateway {at} of network {gateway.network}: weight {gateway.weight}, {_referred(gateway.source)}"
    if reports.seconds:
        yield from _load(port, reports.seconds)
    if facts:
        yield f"  computed from {len(port.facts)} objects:"
        yield from (f"    {_referred(fact)}" for fact in port.facts)
    yield ""


def _load(port: pb.PortExplanation, seconds: float) -> Iterator[str]:
    if port.load:
        yield f"  load, as this proxy reports it, in requests a second over the last {seconds:.0f} s:"
        yield table(LOAD_COLUMNS, (_locality(load) for load in port.load)).rstrip("\n")
    else:
        yield f"  load: this proxy reports no request here in the last {seconds:.0f} s"
    for dropped in port.dropped:
        yield f"  load: {dropped.rate:.1f} a second it refused itself{f', category {dropped.category}' if dropped.category else ''}"


def _locality(load: pb.LocalityLoad) -> tuple[str, ...]:
    return (load.locality, f"{load.issued:.1f}", f"{load.succeeded:.1f}", f"{load.failed:.1f}", str(load.in_progress))


def _candidate(candidate: pb.Candidate) -> tuple[str, ...]:
    return (
        _joined(candidate.address, candidate.port) if candidate.port else candidate.address,
        "yes" if candidate.admitted else "no",
        candidate.rule,
        ",".join(candidate.gateways),
        str(candidate.weight) if candidate.weight else "",
        candidate.pod,
        candidate.cluster,
        candidate.network,
        candidate.locality,
        "; ".join(_reasons(candidate)),
    )


def _reasons(candidate: pb.Candidate) -> Iterable[str]:
    if candidate.note:
        yield candidate.note
    for reference in candidate.because:
        yield _referred(reference)


def _referred(reference: pb.Reference) -> str:
    return f"{reference.object} ({reference.place})" if reference.place else reference.object


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
