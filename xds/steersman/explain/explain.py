"""Explain: every candidate endpoint of a service in every cluster, in or out for one proxy, by which rule and objects.

Nothing is decided here. The answer is read off the values that the proxy's own assignments are made of.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from steersman.explain.candidates import Assignment, candidates, endpoints_in
from steersman.explain.explanation import Explanation, Gateway, Place, PortExplanation, Reference
from steersman.explain.removals import removal_notes
from steersman.explain.service_names import UnknownService
from steersman.graph import Collection, NodeRef, Reader, Table
from steersman.model.clusters import OUTAGES, OutagePolicy, moment
from steersman.model.facts import Origin
from steersman.model.ids import NetworkID, ServiceKey, ServicePortKey
from steersman.model.mesh import MeshService, ObjectRef, ServicePort, Standpoint
from steersman.model.objects import Kind
from steersman.names import EDS, outbound_cluster, sni_name
from steersman.pipeline import Cause
from steersman.registry.collections import (
    CELL_INDEX,
    CLUSTER_OUTAGES,
    CLUSTER_STATES,
    MESH_SERVICES,
    NETWORK_GATEWAYS,
    TABLES,
    VISIBLE_SERVICES,
)
from steersman.registry.services import services_named
from steersman.resources.collections import ASSIGNMENTS, MANIFESTS, TABLES_OF
from steersman.views.callees import proxied
from steersman.views.collections import SEEN, STANDPOINTS, SeenKey
from steersman.views.horizon import horizon_of

InputsOf = Callable[[Collection[Any, Any], Any], tuple[NodeRef, ...]]

KINDS = {table: kind for kind, table in TABLES.items()}


class UnknownProxy(UnknownService):
    """No such proxy is connected."""


def explain(
    read: Reader,
    node_id: str,
    service: ServiceKey,
    port: int | None = None,
    *,
    origins: Mapping[Cause, Origin] | None = None,
    inputs_of: InputsOf | None = None,
) -> Explanation:
    """Why a connected proxy sees what it sees of a service; of one port, or of all.

    `origins`: where objects are written. `inputs_of`: Graph.inputs_of, for the facts behind each assignment; without it they are left out.
    Raises UnknownProxy or UnknownService.
    """
    standpoint, mesh_service = read(STANDPOINTS, node_id), read(MESH_SERVICES, service)
    if standpoint is None:
        raise UnknownProxy(f"no proxy {node_id} is connected")
    if mesh_service is None:
        raise UnknownService(f"no cluster has a Service {service.name} in namespace {service.namespace}")
    asked = [one for one in mesh_service.ports if port in (None, one.port)]
    if port is not None and not asked:
        raise UnknownService(f"{service.name}.{service.namespace} has no port {port}")
    written = Written(origins or {})
    sent = _sent(read, node_id)
    return Explanation(
        proxy=node_id,
        service=mesh_service.hostname,
        standpoint=_place(standpoint),
        services=tuple(written.reference(ObjectRef(Kind.SERVICE, one.key)) for one in services_named(read, service)),
        notes=(*_service_notes(read, mesh_service, standpoint), *_outage_notes(read, mesh_service), *removal_notes(read, mesh_service)),
        ports=tuple(
            _port_explained(read, Assignment(node_id, standpoint, mesh_service, one, cluster, key), written, inputs_of, is_sent=is_sent)
            for one in asked
            for cluster, key, is_sent in _assignments(mesh_service, standpoint, one, sent)
        ),
    )


class Written:
    """Where objects are written."""

    def __init__(self, origins: Mapping[Cause, Origin]) -> None:
        self._origins = origins

    def reference(self, ref: ObjectRef) -> Reference:
        origin = self._origins.get((ref.kind, ref.key))
        return Reference(object=str(ref), place=origin.place if origin is not None else "")


def _place(standpoint: Standpoint) -> Place:
    return Place(
        cluster=standpoint.cluster,
        network=standpoint.network,
        namespace=standpoint.namespace,
        locality=str(standpoint.locality),
        families=tuple(sorted(standpoint.families)),
        view=standpoint.view or (),
        inferred=standpoint.inferred,
    )


# -- which assignments the proxy has ------------------------------------------------------------------------------------------


def _sent(read: Reader, node_id: str) -> dict[str, SeenKey]:
    """What each of the proxy's assignments shows, by cluster name."""
    return {
        name: ref.key[1]
        for table in read(TABLES_OF, node_id)
        for part in table
        if part.type_url == EDS
        for name, ref in read(MANIFESTS, part)
        if ref.collection is ASSIGNMENTS
    }


def _assignments(
    service: MeshService, standpoint: Standpoint, port: ServicePort, sent: Mapping[str, SeenKey]
) -> Iterator[tuple[str, SeenKey, bool]]:
    """(cluster name, what it shows, whether the proxy is sent it): the outbound cluster always, an SNI cluster where the proxy is a
    gateway for it."""
    name = outbound_cluster(port.port, service.hostname)
    own = SeenKey(ServicePortKey(*service.key, port.port), horizon_of(standpoint, service))
    yield name, sent.get(name, own), name in sent
    through = sni_name(port.port, service.hostname)
    if through in sent:
        yield through, sent[through], True


_OUTAGE_WORDS = {
    OutagePolicy.KEEP: "what it told last stands",
    OutagePolicy.DEMOTE: "its endpoints go behind those of other clusters",
    OutagePolicy.DROP: "its endpoints are left out",
}


def _outage_notes(read: Reader, service: MeshService) -> Iterator[str]:
    """Which of the service's clusters are shown as they were, and what is made of that."""
    for cluster in service.clusters:
        health = read(CLUSTER_STATES, cluster)
        if health is None:
            continue
        if health.state in OUTAGES:
            policy = _OUTAGE_WORDS[read(CLUSTER_OUTAGES, cluster)]
            yield f"cluster {cluster} is {health.state} since {moment(health.since)} ({health.problem}): {policy}"
        if health.warm:
            yield f"cluster {cluster}: what its API has not told since the server started is from its warm file, of {moment(health.warm)}"


def _service_notes(read: Reader, service: MeshService, standpoint: Standpoint) -> Iterator[str]:
    if service.key not in read(VISIBLE_SERVICES, standpoint.namespace):
        where = ", ".join(service.export_to)
        yield f"exportTo shows the service to {where} only, not to the proxy's namespace {standpoint.namespace}"
    if service.external_name:
        yield f"ExternalName: the proxy resolves {service.external_name} itself, so there are no endpoints"
    if service.cluster_local:
        yield "cluster-local: endpoints of other clusters are never used"
    for conflict in service.conflicts:
        about = f"port {conflict.port}: " if conflict.port else ""
        yield f"{about}{conflict.what}: Service {conflict.winner} is older than Service {conflict.loser}, which says so"


# -- one assignment -----------------------------------------------------------------------------------------------------------


def _port_explained(
    read: Reader, assignment: Assignment, written: Written, inputs_of: InputsOf | None, *, is_sent: bool
) -> PortExplanation:
    seen = read(SEEN, assignment.key)
    port = assignment.port
    notes = [] if is_sent or not proxied(port) else ["the proxy is not sent this cluster; what follows is what it would see"]
    if not proxied(port):
        notes.append("UDP goes past the proxy: there is no such cluster")
    return PortExplanation(
        port=port.port,
        name=port.name,
        protocol=port.protocol,
        cluster=assignment.cluster,
        candidates=tuple(candidates(read, assignment, seen, written.reference)),
        gateways=tuple(
            Gateway(
                address=share.gateway.address,
                port=share.gateway.port,
                network=share.gateway.network,
                locality=str(group.locality),
                weight=share.weight,
                source=written.reference(share.gateway.source),
            )
            for group in seen.groups
            for share in group.gateways
        ),
        notes=(*notes, *_port_notes(read, assignment)),
        facts=tuple(_facts(inputs_of(SEEN, assignment.key), written)) if inputs_of is not None else (),
    )


def _port_notes(read: Reader, assignment: Assignment) -> Iterator[str]:
    seen = read(SEEN, assignment.key)
    if seen.scale > 1:
        yield f"all weights are multiplied by {seen.scale}, so that gateways' shares are whole numbers"
    if seen.rounded:
        yield "weights were scaled down to fit Envoy's limit of 2^32-1, and gateways' shares rounded"
    for folded in seen.folded:
        at = f"{folded.gateway.address}:{folded.gateway.port}"
        share = f"their share of it, {folded.weight}, stands with {endpoints_in(folded.into)}"
        yield f"gateway {at} also fronts {endpoints_in(folded.locality)}: {share}"
    for gateway in seen.shadowed:
        yield f"gateway {gateway.address}:{gateway.port} carries nothing here: an endpoint that is reached directly has the same address"
    for network in _networks(read, assignment):
        for source, reason in read(NETWORK_GATEWAYS, network).ignored:
            yield f"network {network}: {source} {reason}"
    for service in services_named(read, assignment.service.key):
        if all(port.port != assignment.port.port for port in service.ports):
            yield f"Service {service.key} has no port {assignment.port.port}"


def _networks(read: Reader, assignment: Assignment) -> Iterable[NetworkID]:
    """The other networks on which the port has endpoints."""
    found = {traits.network for traits, _ in read(CELL_INDEX, assignment.key.port).cells}
    return sorted(found - {assignment.key.horizon.network, NetworkID("")})


def _facts(inputs: Iterable[NodeRef], written: Written) -> Iterator[Reference]:
    for ref in inputs:
        if isinstance(ref.collection, Table):
            yield written.reference(ObjectRef(KINDS[ref.collection], ref.key))
