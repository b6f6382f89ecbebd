"""Every endpoint that a service port has somewhere, and what became of it for one proxy."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from steersman.explain.explanation import Candidate, Reference
from steersman.explain.removals import Removal, removal_of
from steersman.graph import Reader
from steersman.model.ids import Locality
from steersman.model.mesh import (
    CellIndex,
    Endpoint,
    MeshService,
    ObjectRef,
    Rule,
    ServicePort,
    SplitHorizon,
    Standpoint,
    Unusable,
    Verdict,
    Workload,
)
from steersman.model.objects import Kind, Service
from steersman.registry.cells import dropped_from
from steersman.registry.collections import CELL_INDEX, CELLS, ENDPOINT_SOURCES, HELD_REMOVALS, CellKey
from steersman.registry.endpoints import endpoints_from, unusable_from
from steersman.registry.services import port_numbered, services_named
from steersman.views.collections import VERDICTS, SeenKey, VerdictKey

Render = Callable[[ObjectRef], Reference]


class Assignment(NamedTuple):
    """One of a proxy's assignments. `cluster`: the Envoy cluster's name. `key`: what it shows."""

    proxy: str
    standpoint: Standpoint
    service: MeshService
    port: ServicePort
    cluster: str
    key: SeenKey


def candidates(read: Reader, assignment: Assignment, seen: SplitHorizon, render: Render) -> list[Candidate]:
    """All of them, in every cluster, sorted by (cluster, address, port, pod). A pod that is listed twice is one candidate."""
    services = services_named(read, assignment.service.key)
    found = [candidate for service in services for candidate in _of_service(read, assignment, seen, service, render)]
    return sorted(found, key=lambda one: (one.cluster, one.address, one.port, one.pod, one.source.object))


def _of_service(read: Reader, assignment: Assignment, seen: SplitHorizon, service: Service, render: Render) -> Iterator[Candidate]:
    port = port_numbered(service, assignment.port.port)
    if port is None:
        return
    judge = _Judge(read, assignment, seen, service, render)
    for source in read(ENDPOINT_SOURCES, service.key):
        for name, endpoints in endpoints_from(read, source).ports:
            if name == port.name:
                for endpoint in endpoints:
                    yield from judge.of_endpoint(source, endpoint)
        for entry in unusable_from(read, source):
            if entry.port_name == port.name:
                yield judge.of_unusable(entry)


class _Judge:
    """Says of each entry what was decided. The deciding is done elsewhere: in the registry, VERDICTS and SEEN."""

    def __init__(self, read: Reader, assignment: Assignment, seen: SplitHorizon, service: Service, render: Render) -> None:
        self._read = read
        self._assignment = assignment
        self._seen = seen
        self._service = ObjectRef(Kind.SERVICE, service.key)
        self._render = render
        self._index: CellIndex = read(CELL_INDEX, assignment.key.port)
        self._gone = frozenset(self._index.dropped)
        self._held = read(HELD_REMOVALS, self._service)
        self._without = {(address, port, cell) for cell, address, port in seen.without}
        self._moved = {(one.gateway.address, one.gateway.port, one.locality): one.into for one in seen.folded}

    def of_unusable(self, entry: Unusable) -> Candidate:
        return self._candidate(entry.address, 0, entry.workload, entry.rule, (entry.because,), entry.note, entry.source)

    def of_endpoint(self, source: ObjectRef, endpoint: Endpoint) -> Iterator[Candidate]:
        """Nothing for a second entry of the same pod."""
        if dropped_from(source, endpoint) in self._gone:
            for lost in self._index.duplicates:
                if (lost.address, lost.workload, lost.source) == (endpoint.address, endpoint.workload, endpoint.source):
                    yield self._candidate(
                        lost.address, endpoint.port, lost.workload, lost.rule, (lost.because,), lost.note, lost.source, endpoint
                    )
                    return
            return
        if (endpoint.address, endpoint.port, endpoint.traits) in self._without:
            note = "an endpoint on another network has the same address, and to this proxy both are direct"
            because = tuple(self._standing(endpoint))
            yield self._candidate(
                endpoint.address, endpoint.port, endpoint.workload, Rule.DUPLICATE, because, note, endpoint.source, endpoint
            )
            return
        verdict = self._read(VERDICTS, VerdictKey(endpoint.traits, self._assignment.key.horizon))
        rule, note = self._folded(verdict, endpoint.traits.locality) if verdict.gateways else (verdict.rule, verdict.note)
        because = tuple(dict.fromkeys((*self._own_reasons(verdict, endpoint.workload), *verdict.because)))
        removal = removal_of(self._held, endpoint)
        if removal is not None:
            rule, note, because = _marked(removal, rule, note, because)
        gateways = tuple(f"{gateway.address}:{gateway.port}" for gateway in verdict.gateways)
        yield self._candidate(endpoint.address, endpoint.port, endpoint.workload, rule, because, note, endpoint.source, endpoint, gateways)

    def _standing(self, lost: Endpoint) -> Iterator[ObjectRef]:
        """What lists the endpoint that stands for this one's address."""
        place = (lost.address, lost.port)
        for group in self._seen.groups:
            for traits in group.direct:
                if traits != lost.traits and (*place, traits) not in self._without:
                    for other in self._read(CELLS, CellKey(self._assignment.key.port, traits)):
                        if (other.address, other.port) == place:
                            yield other.source

    def _folded(self, verdict: Verdict, locality: Locality) -> tuple[Rule, str]:
        """Rule 7 as it touches an endpoint: the gateways before it may stand with another locality."""
        moved = {
            f"{gateway.address}:{gateway.port}": self._moved[gateway.address, gateway.port, locality]
            for gateway in verdict.gateways
            if (gateway.address, gateway.port, locality) in self._moved
        }
        if not moved:
            return verdict.rule, verdict.note
        where = ", ".join(f"{at} stands with {endpoints_in(into)}" for at, into in moved.items())
        return (Rule.FOLDED if len(moved) == len(verdict.gateways) else verdict.rule), f"{verdict.note}; {where}"

    def _own_reasons(self, verdict: Verdict, workload: Workload) -> Iterator[ObjectRef]:
        """The objects that decided and that a verdict doesn't know, as it is about many endpoints and many proxies."""
        proxy = ObjectRef(Kind.PROXY, self._assignment.proxy)
        behind = ObjectRef(Kind.POD, workload.pod) if workload.pod is not None else self._service
        match verdict.rule:
            case Rule.CLUSTER_LOCAL | Rule.NODE_LOCAL:
                yield self._service
            case Rule.NETWORK_VIEW | Rule.OTHER_NETWORK_AT_GATEWAY:
                yield proxy
            case Rule.OTHER_FAMILY:
                yield from (proxy, self._service)
            case Rule.NOT_MTLS if self._assignment.standpoint.plaintext:
                yield proxy
            case Rule.NOT_MTLS | Rule.PASSTHROUGH_NOT_MTLS:
                yield behind
            case _:
                pass
        if workload.network_by is not None and verdict.rule not in _NOT_BY_NETWORK:
            yield workload.network_by

    def _candidate(
        self,
        address: str,
        port: int,
        workload: Workload,
        rule: Rule,
        because: tuple[ObjectRef, ...],
        note: str,
        source: ObjectRef,
        endpoint: Endpoint | None = None,
        gateways: tuple[str, ...] = (),
    ) -> Candidate:
        locality = endpoint.traits.locality if endpoint is not None else workload.locality
        return Candidate(
            address=address,
            port=port,
            admitted=rule.admits,
            rule=rule,
            because=tuple(self._render(ref) for ref in because),
            note=note,
            gateways=gateways,
            pod=str(workload.pod or ""),
            cluster=workload.cluster,
            network=workload.network,
            locality=str(locality),
            mtls=workload.mtls,
            health=endpoint.health if endpoint is not None else "",
            weight=endpoint.weight * self._seen.scale if endpoint is not None and rule.admits else 0,
            source=self._render(source),
        )


def _marked(removal: Removal, rule: Rule, note: str, because: tuple[ObjectRef, ...]) -> tuple[Rule, str, tuple[ObjectRef, ...]]:
    """The mark of an endpoint that is held; what else decided stays beside it, and goes before it where it keeps the endpoint out."""
    words = f"{note}; {removal.note}" if note else removal.note
    return (Rule.REMOVAL_HELD if rule.admits else rule), words, tuple(dict.fromkeys((removal.object, *because)))


_NOT_BY_NETWORK = (Rule.CLUSTER_LOCAL, Rule.NODE_LOCAL, Rule.OTHER_FAMILY, Rule.PASSTHROUGH_NOT_MTLS)


def endpoints_in(locality: Locality) -> str:
    return f"endpoints in {locality}" if any(locality) else "endpoints of no known locality"
