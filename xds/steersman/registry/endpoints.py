"""What each EndpointSlice, or each Service's Pods, contributes: endpoints, and entries that are none for anyone, with the reason."""

from itertools import compress
from typing import cast

import msgspec

from steersman.graph import Reader
from steersman.model.ids import ObjectKey
from steersman.model.mesh import (
    Candidates,
    Endpoint,
    Health,
    ObjectRef,
    Rule,
    SourceEndpoints,
    Twin,
    Unusable,
    Workload,
)
from steersman.model.objects import CONDITIONS, EndpointConditions, Kind, Pod, Port, Service, ServiceType, SliceMembers
from steersman.registry.addresses import Address, parse_address
from steersman.registry.collections import (
    CIDR_NETWORKS,
    CLUSTERS,
    LABELS_WITH,
    POD_CANDIDATES,
    POD_ENDPOINTS,
    PODS,
    PODS_LABELLED,
    SERVICES,
    SLICE_CANDIDATES,
    SLICE_ENDPOINTS,
    SLICE_MEMBERS,
    SLICES,
    SLICES_OF,
    WORKLOADS,
    LabelKey,
)
from steersman.registry.entries import (
    Entry,
    EntryRow,
    Placing,
    Refused,
    Usable,
    on_any_port,
    on_port,
    placed_at,
    slice_entries,
    unusable_at,
    without_port,
)
from steersman.registry.workloads import unnamed_workload

NOTHING = SourceEndpoints()
NOBODY = Candidates()


def endpoint_sources(read: Reader, key: ObjectKey) -> tuple[ObjectRef, ...]:
    """What lists the endpoints of one cluster's Service: its EndpointSlices, sorted; without any, its own selector, as the Service, unless
    a controller writes the cluster's slices; else nothing."""
    service = read(SERVICES, key)
    if service is None or service.type is ServiceType.EXTERNAL_NAME:
        return ()
    slices = read(SLICES_OF, key)
    if slices:
        return tuple(ObjectRef(Kind.ENDPOINT_SLICE, piece) for piece in slices)
    if not service.selector:
        return ()
    cluster = read(CLUSTERS, key.cluster)
    return () if cluster is not None and cluster.slices_only else (ObjectRef(Kind.SERVICE, key),)


def endpoints_from(read: Reader, source: ObjectRef) -> SourceEndpoints:
    """What one of `endpoint_sources` contributes."""
    return read(SLICE_ENDPOINTS if source.kind is Kind.ENDPOINT_SLICE else POD_ENDPOINTS, source.key)


def unusable_from(read: Reader, source: ObjectRef) -> list[Unusable]:
    """The entries of one of `endpoint_sources` that are no endpoint for anyone, port by port. Nothing is computed from them: who asks has
    them made."""
    if source.kind is not Kind.ENDPOINT_SLICE:
        return [one for _, at_port in read(POD_CANDIDATES, source.key).ports for one in at_port if isinstance(one, Unusable)]
    candidates = read(SLICE_CANDIDATES, source.key)
    piece = read(SLICES, source.key)
    if piece is None or (candidates.usable and _UNUSED not in piece.conditions.translate(_USES[candidates.session])):
        return []
    judged = (
        _judged(one, name, CONDITIONS[code], session=candidates.session)
        for name, at_port in candidates.ports
        for one, code in zip(at_port, piece.conditions, strict=True)
    )
    return [one for one in judged if isinstance(one, Unusable)]


def slice_endpoints(read: Reader, key: ObjectKey) -> SourceEndpoints:
    """What one EndpointSlice contributes to its Service: of its candidates those whose conditions allow it."""
    candidates = read(SLICE_CANDIDATES, key)
    piece = read(SLICES, key)
    if piece is None or not candidates.ports:
        return NOTHING
    use = piece.conditions.translate(_USES[candidates.session])
    if use.count(_AS_IT_IS) == len(use):
        return _usable(candidates)
    ports = []
    for name, at_port in candidates.ports:
        listed = (
            [_draining(one) if how == _DRAINING else one for one, how in zip(at_port, use, strict=True)] if _DRAINING in use else at_port
        )
        ports.append((name, tuple(compress(listed, use))))
    return _usable(msgspec.structs.replace(candidates, ports=tuple(ports)))


def _usable(candidates: Candidates) -> SourceEndpoints:
    """Those that are endpoints. Where all are, as nearly always, it is one value, not two."""
    ports = candidates.ports
    if not candidates.usable:
        ports = tuple([(name, tuple([one for one in at_port if type(one) is Endpoint])) for name, at_port in ports])
    return SourceEndpoints(ports=cast("tuple[tuple[str, tuple[Endpoint, ...]], ...]", ports), distinct=candidates.distinct)


def slice_members(read: Reader, key: ObjectKey) -> SliceMembers | None:
    """What of an EndpointSlice its entries' conditions don't touch; None where there is no such slice."""
    piece = read(SLICES, key)
    return piece.members if piece is not None else None


def slice_candidates(read: Reader, key: ObjectKey) -> Candidates:
    """What the entries of an EndpointSlice are while they are ready, by the names of the Service's ports.

    A slice's port is the Service's port of equal name. One without a number stands for all ports of its endpoints, which are reached at the
    target port then. A port that the slice doesn't have makes its entries unusable there.
    """
    return _of_slice(read, key, None)[0]


class CandidatesBefore(msgspec.Struct, frozen=True, gc=False):
    """What an EndpointSlice's candidates were made of before, and they. `of_service`: all of its Service that decides what an entry of a
    known pod is, beside the pod: its ports, with the slice's numbers, among it."""

    members: SliceMembers
    of_service: tuple[object, ...]
    candidates: Candidates


def slice_candidates_again(read: Reader, key: ObjectKey, before: CandidatesBefore | None) -> tuple[Candidates, CandidatesBefore | None]:
    """The same, in which an entry of which nothing changed is the very object that it was: what follows goes on from that. Nothing is kept
    where more than the pod decides what an entry is: twins, fromCidr, ports without a number."""
    return _of_slice(read, key, before)


def _of_slice(read: Reader, key: ObjectKey, before: CandidatesBefore | None) -> tuple[Candidates, CandidatesBefore | None]:
    members = read(SLICE_MEMBERS, key)
    if members is None:
        return NOBODY, None
    service = read(SERVICES, ObjectKey(key.cluster, key.namespace, members.service))
    if service is None or service.type is ServiceType.EXTERNAL_NAME:
        return NOBODY, None
    placing = Placing(read, service)
    simple = not placing.twins and not read(CIDR_NETWORKS, "")
    numbers = {port.name: port.port for port in reversed(members.ports) if port.port is not None}
    open_ports = {port.name for port in members.ports if port.port is None}
    named = _ports_by_name(service)
    of_service = (placing.node_local, *[(name, numbers.get(name)) for name, _ in named])
    rows = list(zip(members.addresses, members.pods, members.places, strict=True))
    same: list[int | None] = []
    if before is not None and simple and before.of_service == of_service:
        same = _same_entries(read, key, rows, before)
        rows = [row for row, at in zip(rows, same, strict=True) if at is None]
    entries = slice_entries(read, key, rows, placing, simple=simple)
    ports: list[tuple[str, tuple[Endpoint | Unusable, ...]]] = []
    for place, (name, port) in enumerate(named):
        number = numbers.get(name)
        if number is not None:
            at_port = on_port(entries, name, number)
            if same and before is not None:
                made, was = iter(at_port), before.candidates.ports[place][1]
                at_port = tuple([next(made) if at is None else was[at] for at in same])
            ports.append((name, at_port))
        elif name in open_ports or "" in open_ports:
            ports.append((name, on_any_port(read, entries, port)))
        else:
            ports.append((name, tuple(unusable_at(one, name) if isinstance(one, Refused) else without_port(one, name) for one in entries)))
    candidates = _candidates(ports, session=placing.session)
    plain = simple and bool(named) and all(name in numbers for name, _ in named)
    return candidates, CandidatesBefore(members, of_service, candidates) if plain else None


def _same_entries(read: Reader, key: ObjectKey, rows: list[EntryRow], before: CandidatesBefore) -> list[int | None]:
    """Of each entry where it stood before, if it is what it was: the same pod, as the same workload, at the same address and place."""
    was = before.members
    stood = {address: at for at, address in enumerate(was.addresses)}
    candidates = before.candidates.ports[0][1]
    same: list[int | None] = []
    for address, pod, place in rows:
        at = stood.get(address) if pod else None
        if at is not None and was.pods[at] == pod and was.places[at] == place:
            known = read(WORKLOADS, ObjectKey(key.cluster, key.namespace, pod))
            same.append(at if candidates[at].workload is known else None)
        else:
            same.append(None)
    return same


def _candidates(ports: list[tuple[str, tuple[Endpoint | Unusable, ...]]], *, session: bool) -> Candidates:
    usable = all(type(one) is Endpoint for _, at_port in ports for one in at_port)
    entries = ports[0][1] if ports else ()
    distinct = len({entry.address for entry in entries}) == len(entries)
    return Candidates(ports=tuple(ports), usable=usable, distinct=distinct, session=session)


def workloads_from(read: Reader, source: ObjectRef) -> list[Workload]:
    """What is behind the entries of one of `endpoint_sources`, ready or not."""
    candidates = read(SLICE_CANDIDATES if source.kind is Kind.ENDPOINT_SLICE else POD_CANDIDATES, source.key)
    return [one.workload for _, at_port in candidates.ports for one in at_port]


def _ports_by_name(service: Service) -> list[tuple[str, Port]]:
    return sorted({port.name: port for port in reversed(service.ports)}.items())


def _judged(candidate: Endpoint | Unusable, port_name: str, said: EndpointConditions, *, session: bool) -> Endpoint | Unusable:
    """What a candidate is by its conditions. Of one that is nowhere an endpoint that is said, and not how it is."""
    if isinstance(candidate, Unusable) and candidate.rule is not Rule.NO_PORT:
        return candidate
    refused = _condition(said, session)
    if refused is None:
        return candidate
    return Unusable(
        address=candidate.address,
        port_name=port_name,
        rule=refused,
        because=candidate.source,
        workload=candidate.workload,
        source=candidate.source,
        note=_CONDITIONS.get(refused, ""),
    )


def _condition(said: EndpointConditions, session: bool) -> Rule | None:
    """What the conditions of an entry say against it. (`ready` wins, which publishNotReadyAddresses sets as well.)"""
    if said.ready:
        return None
    if not said.terminating:
        return Rule.NOT_READY
    if not said.serving:
        return Rule.TERMINATING
    return None if session else Rule.DRAINING


_CONDITIONS = {Rule.DRAINING: "terminating, and the Service keeps no sessions"}
_UNUSED, _AS_IT_IS, _DRAINING = range(3)


def _use(code: int, session: bool) -> int:
    """What becomes of a candidate whose conditions have this code: one of these."""
    said = CONDITIONS[code % len(CONDITIONS)]
    return _UNUSED if _condition(said, session) is not None else _AS_IT_IS if said.ready else _DRAINING


_USES = [bytes(_use(code, session) for code in range(256)) for session in (False, True)]
"""By whether the Service keeps sessions: the same for all of a slice's conditions at once, by bytes.translate."""


def _draining(candidate: Endpoint | Unusable) -> Endpoint | Unusable:
    return msgspec.structs.replace(candidate, health=Health.DRAINING) if isinstance(candidate, Endpoint) else candidate


# -- a Service without EndpointSlices -----------------------------------------------------------------------------------------


def pod_candidates(read: Reader, key: ObjectKey) -> Candidates:
    """The Pods that a Service selects: as its EndpointSlices would list them, if a controller had written them.

    A pod stands with one address of each family that the Service names (of one that names none, with its primary address).
    """
    service = read(SERVICES, key)
    if service is None or not service.selector or service.type is ServiceType.EXTERNAL_NAME:
        return NOBODY
    placing = Placing(read, service)
    entries = [entry for pod in selected_pods(read, service) for entry in _pod_entries(read, pod, service, placing)]
    ports = [(name, on_any_port(read, entries, port)) for name, port in _ports_by_name(service)]
    return _candidates(ports, session=placing.session)


def pod_endpoints(read: Reader, key: ObjectKey) -> SourceEndpoints:
    """What they contribute."""
    return _usable(read(POD_CANDIDATES, key))


def selected_pods(read: Reader, service: Service) -> list[Pod]:
    """The Pods that a Service's selector matches, sorted by name."""
    cluster, namespace = service.key.cluster, service.key.namespace
    buckets = [read(LABELS_WITH, LabelKey(cluster, namespace, name, value)) for name, value in service.selector]
    selected = set(buckets[0]).intersection(*buckets[1:]) if buckets else ()
    found = (read(PODS, key) for key in sorted(key for labels in selected for key in read(PODS_LABELLED, labels)))
    return [pod for pod in found if pod is not None]


def _pod_entries(read: Reader, pod: Pod, service: Service, placing: Placing) -> list[Entry]:
    source = ObjectRef(Kind.POD, pod.key)
    parsed = [address for ip in pod.ips if (address := parse_address(ip)) is not None]
    families = service.families or tuple(address.family for address in parsed[:1])
    by_family = {address.family: address for address in reversed(parsed)}
    chosen = [by_family[family] for family in families if family in by_family]
    known = read(WORKLOADS, pod.key)
    refused = _refused_pod(pod, service, chosen)
    if known is None or refused is not None:
        rule, note = refused or (Rule.POD_INACTIVE, "")
        workload = known or unnamed_workload(read, pod.key.cluster, parsed[0] if parsed else None, pod.node)
        shown = [address.text for address in chosen] or pod.ips[:1] or ("",)
        return [Refused(text, workload, rule, source, note, source) for text in shown]
    entries: list[Entry] = []
    for address in chosen:
        workload = placed_at(read, known, address)
        twin = Twin.ALONE if len(chosen) == 1 else placing.twin_of(address.family)
        entries.append(Usable(address.text, workload, placing.traits(workload, address.family, twin), source, pod))
    return entries


def _refused_pod(pod: Pod, service: Service, chosen: list[Address]) -> tuple[Rule, str] | None:
    if not pod.active:
        return Rule.POD_INACTIVE, "the Pod has run to its end"
    if pod.terminating and not service.publish_not_ready:
        return Rule.TERMINATING, ""
    if not pod.ready and not service.publish_not_ready:
        return Rule.NOT_READY, ""
    if not chosen:
        names = " or ".join(service.families) or "any family"
        return Rule.BAD_ADDRESS, f"the Pod has no address of {names}" if pod.ips else "the Pod has no usable address (yet)"
    return None
