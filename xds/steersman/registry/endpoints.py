"""What each EndpointSlice, or each Service's Pods, contributes: endpoints, and entries that are none for anyone, with the reason."""

from collections.abc import Iterable
from functools import lru_cache
from itertools import compress
from typing import cast

import msgspec

from steersman.graph import Reader
from steersman.model.ids import ClusterID, IPFamily, Locality, NetworkID, ObjectKey, ServiceKey, label
from steersman.model.mesh import (
    Candidates,
    Endpoint,
    Health,
    ObjectRef,
    Rule,
    SourceEndpoints,
    Traits,
    Twin,
    Unusable,
    Workload,
)
from steersman.model.objects import CONDITIONS, EndpointConditions, EndpointPlace, Kind, Pod, Port, Service, ServiceType, SliceMembers
from steersman.names import NETWORK_LABEL
from steersman.registry.addresses import Address, canonical_family, parse_address
from steersman.registry.collections import (
    CIDR_NETWORKS,
    CLUSTERS,
    LABELS_WITH,
    MESH_SERVICES,
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
    TWINS,
    WORKLOADS,
    LabelKey,
)
from steersman.registry.families import first_family
from steersman.registry.networks import network_at
from steersman.registry.workloads import unnamed_workload

NOTHING = SourceEndpoints()
NOBODY = Candidates()


class _Usable(msgspec.Struct, frozen=True, gc=False):
    """An entry that is an endpoint wherever it has the port. `pod`: only where a port may be one of its containers'."""

    address: str
    workload: Workload
    traits: Traits
    source: ObjectRef
    pod: Pod | None = None


class _Refused(msgspec.Struct, frozen=True, gc=False):
    """An entry that is no endpoint on any port: why, and by which object."""

    address: str
    workload: Workload
    rule: Rule
    because: ObjectRef
    note: str
    source: ObjectRef


_Entry = _Usable | _Refused


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
    members = read(SLICE_MEMBERS, key)
    if members is None:
        return NOBODY
    service = read(SERVICES, ObjectKey(key.cluster, key.namespace, members.service))
    if service is None or service.type is ServiceType.EXTERNAL_NAME:
        return NOBODY
    placing = _Placing(read, service)
    entries = _slice_entries(read, key, members, placing)
    numbers = {port.name: port.port for port in reversed(members.ports) if port.port is not None}
    open_ports = {port.name for port in members.ports if port.port is None}
    ports: list[tuple[str, tuple[Endpoint | Unusable, ...]]] = []
    for name, port in _ports_by_name(service):
        number = numbers.get(name)
        if number is not None:
            ports.append((name, _on_port(entries, name, number)))
        elif name in open_ports or "" in open_ports:
            ports.append((name, _on_any_port(read, entries, port)))
        else:
            ports.append((name, tuple(_unusable(one, name) if isinstance(one, _Refused) else _without_port(one, name) for one in entries)))
    return _candidates(ports, entries, session=placing.session)


def _candidates(ports: list[tuple[str, tuple[Endpoint | Unusable, ...]]], entries: list[_Entry], *, session: bool) -> Candidates:
    usable = all(type(one) is Endpoint for _, at_port in ports for one in at_port)
    distinct = len({entry.address for entry in entries}) == len(entries)
    return Candidates(ports=tuple(ports), usable=usable, distinct=distinct, session=session)


def workloads_from(read: Reader, source: ObjectRef) -> list[Workload]:
    """What is behind the entries of one of `endpoint_sources`, ready or not."""
    candidates = read(SLICE_CANDIDATES if source.kind is Kind.ENDPOINT_SLICE else POD_CANDIDATES, source.key)
    return [one.workload for _, at_port in candidates.ports for one in at_port]


def _ports_by_name(service: Service) -> list[tuple[str, Port]]:
    return sorted({port.name: port for port in reversed(service.ports)}.items())


def _slice_entries(read: Reader, key: ObjectKey, members: SliceMembers, placing: "_Placing") -> list[_Entry]:
    """A slice's entries. Most are the address of a known pod, and take the short way: this is what it costs that one comes or goes."""
    source = ObjectRef(Kind.ENDPOINT_SLICE, key)
    cluster, namespace = key.cluster, key.namespace
    simple = not placing.twins and not read(CIDR_NETWORKS, "")
    shared: dict[tuple[object, ...], Traits] = {}
    node_local, first = placing.node_local, placing.first
    entries: list[_Entry] = []
    for address, pod, place in zip(members.addresses, members.pods, members.places, strict=True):
        known = read(WORKLOADS, ObjectKey(cluster, namespace, pod)) if pod else None
        family = canonical_family(address) if simple and known is not None else None
        if known is None or family is None or place.flaw or (place.zone and known.locality == _NO_LOCALITY):
            entries.append(_slice_entry(read, address, pod, place, known, source, placing))
            continue
        alike = (known.locality, known.network, known.mtls, family is first, known.node if node_local else "")  # enums hash slowly
        traits = shared.get(alike)
        if traits is None:
            traits = shared[alike] = placing.traits(known, family, Twin.ALONE)
        entries.append(_Usable(address, known, traits, source))
    return entries


def _slice_entry(
    read: Reader, text: str, pod: str, place: EndpointPlace, known: Workload | None, source: ObjectRef, placing: "_Placing"
) -> _Entry:
    cluster, namespace = source.key.cluster, source.key.namespace
    address = None if place.flaw else parse_address(text)
    if known is None:
        workload = unnamed_workload(read, cluster, address, place.node)
    else:
        workload = _placed_at(read, known, address) if address is not None else known
    if place.zone and workload.locality == _NO_LOCALITY:
        workload = msgspec.structs.replace(workload, locality=Locality("", place.zone))
    if address is None:
        note = place.flaw or f"{text!r} is no address of a host"
        return _Refused(text, workload, Rule.BAD_ADDRESS, source, note, source)
    if pod and known is None:
        return _Refused(address.text, workload, *_absent(read, ObjectKey(cluster, namespace, pod)), source)
    return _Usable(address.text, workload, placing.traits(workload, address.family, placing.twin(address.family, pod)), source)


_NO_LOCALITY = Locality()


def _placed_at(read: Reader, workload: Workload, address: Address) -> Workload:
    """The workload as it stands at this address: by fromCidr a pod's two addresses may be on two networks."""
    if label(workload.labels, NETWORK_LABEL):
        return workload
    network, by = network_at(read, workload.cluster, address.packed)
    if network == workload.network:
        return workload
    return msgspec.structs.replace(workload, network=network, network_by=by)


def _absent(read: Reader, pod: ObjectKey) -> tuple[Rule, ObjectRef, str]:
    """Why a Pod that a slice names is no workload."""
    if read(PODS, pod) is None:
        return Rule.POD_MISSING, ObjectRef(Kind.POD, pod), "the EndpointSlice names a Pod that is not there (yet)"
    return Rule.POD_INACTIVE, ObjectRef(Kind.POD, pod), "the Pod has run to its end"


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


def _on_port(entries: Iterable[_Entry], name: str, number: int) -> tuple[Endpoint | Unusable, ...]:
    return tuple(
        [
            Endpoint(address=entry.address, port=number, traits=entry.traits, workload=entry.workload, source=entry.source)
            if isinstance(entry, _Usable)
            else _unusable(entry, name)
            for entry in entries
        ]
    )


def _on_any_port(read: Reader, entries: list[_Entry], port: Port) -> tuple[Endpoint | Unusable, ...]:
    """The entries at the Service's target port, which may be a name that each pod gives its own number."""
    found: list[Endpoint | Unusable] = []
    for entry in entries:
        number: int | None = 0
        if isinstance(entry, _Usable):
            pod = read(PODS, entry.workload.pod) if entry.pod is None and entry.workload.pod is not None else entry.pod
            number = target_number(port, pod)
        if number is None:
            assert isinstance(entry, _Usable)
            found.append(_without_port(entry, port.name))
        else:
            found.extend(_on_port((entry,), port.name, number))
    return tuple(found)


def target_number(port: Port, pod: Pod | None) -> int | None:
    """The number of a Service's target port at one pod; None where it is a name that the pod's containers don't have."""
    if isinstance(port.target_port, int):
        return port.target_port
    return dict(pod.ports).get(port.target_port) if pod is not None else None


def _unusable(entry: _Refused, name: str) -> Unusable:
    return Unusable(
        address=entry.address,
        port_name=name,
        rule=entry.rule,
        because=entry.because,
        workload=entry.workload,
        source=entry.source,
        note=entry.note,
    )


def _without_port(entry: _Usable, name: str) -> Unusable:
    note = f"lists no port {name!r}" if entry.source.kind is Kind.ENDPOINT_SLICE else f"no container has the target port of {name!r}"
    return _unusable(_Refused(entry.address, entry.workload, Rule.NO_PORT, entry.source, note, entry.source), name)


@lru_cache(maxsize=1 << 16)
def _shared_traits(
    locality: Locality, network: NetworkID, cluster: ClusterID, mtls: bool, family: IPFamily, twin: Twin, node: str
) -> Traits:
    """Equal traits are one object, as there are few of them among very many endpoints."""
    return Traits(locality, network, cluster, mtls, family, twin, node)


class _Placing:
    """What of a Service decides the traits of its endpoints in one cluster."""

    def __init__(self, read: Reader, service: Service) -> None:
        mesh_service = read(MESH_SERVICES, ServiceKey(service.key.namespace, service.key.name))
        self.session = mesh_service is not None and mesh_service.session
        self.node_local = service.node_local
        self.first = first_family(service)
        self.twins = read(TWINS, service.key)

    def traits(self, workload: Workload, family: IPFamily, twin: Twin) -> Traits:
        node = f"{workload.cluster}/{workload.node}" if self.node_local else ""
        return _shared_traits(workload.locality, workload.network, workload.cluster, workload.mtls, family, twin, node)

    def twin(self, family: IPFamily, pod: str) -> Twin:
        """Of the two addresses of a pod that stands in slices of both families."""
        return Twin.ALONE if pod not in self.twins else self.twin_of(family)

    def twin_of(self, family: IPFamily) -> Twin:
        return Twin.FIRST if family is self.first else Twin.SECOND


# -- a Service without EndpointSlices -----------------------------------------------------------------------------------------


def pod_candidates(read: Reader, key: ObjectKey) -> Candidates:
    """The Pods that a Service selects: as its EndpointSlices would list them, if a controller had written them.

    A pod stands with one address of each family that the Service names (of one that names none, with its primary address).
    """
    service = read(SERVICES, key)
    if service is None or not service.selector or service.type is ServiceType.EXTERNAL_NAME:
        return NOBODY
    placing = _Placing(read, service)
    entries = [entry for pod in selected_pods(read, service) for entry in _pod_entries(read, pod, service, placing)]
    ports = [(name, _on_any_port(read, entries, port)) for name, port in _ports_by_name(service)]
    return _candidates(ports, entries, session=placing.session)


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


def _pod_entries(read: Reader, pod: Pod, service: Service, placing: _Placing) -> list[_Entry]:
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
        return [_Refused(text, workload, rule, source, note, source) for text in shown]
    entries: list[_Entry] = []
    for address in chosen:
        workload = _placed_at(read, known, address)
        twin = Twin.ALONE if len(chosen) == 1 else placing.twin_of(address.family)
        entries.append(_Usable(address.text, workload, placing.traits(workload, address.family, twin), source, pod))
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
