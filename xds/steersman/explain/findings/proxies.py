"""Connected proxies: what is odd about where they stand, and what they don't get."""

from collections.abc import Iterator
from typing import NamedTuple

from steersman.explain.findings.gateways import refused_server
from steersman.explain.findings.kinds import LISTENER_FINDINGS
from steersman.explain.findings.mesh import Mesh, Step, listed, service_ref
from steersman.model.facts import Finding
from steersman.model.ids import ObjectKey
from steersman.model.mesh import ObjectRef, Standpoint
from steersman.model.objects import Kind
from steersman.model.proxy import Proxy
from steersman.names import EDS
from steersman.registry.collections import CLUSTERS, GATEWAYS, MESH_SERVICES, PROXIES
from steersman.resources.collections import ASSIGNMENTS, MANIFESTS, TABLES_OF
from steersman.views.collections import INBOUNDS, OUTBOUND_PORTS, OUTBOUNDS, ROUTE_HOSTS, ROUTERS, SEEN, SERVERS, STANDPOINTS, SeenKey
from steersman.views.listeners import Refusal, Refused
from steersman.views.ports import routes_scope
from steersman.views.scopes import Outbound, Router

_WORDS = {
    Refusal.ADDRESS_TAKEN: ("{holder} is older and has {at}", "give the two services addresses or ports of their own"),
    Refusal.PORT_TAKEN: (
        "{holder} is older and is bound at {at}; with interception NONE, TCP services are told apart by port only",
        "give the two services ports of their own, or name the ports for HTTP if they speak it",
    ),
    Refusal.OWN_PORT: ("{at} is the proxy's own, or its workload's", "let the service use another port"),
    Refusal.LOW_PORT: (
        "{at} is under 1024, which takes privileges to bind",
        'set metadata UNPRIVILEGED_PORTS: "true" if the proxy may bind it, or use a higher port',
    ),
    Refusal.NO_ADDRESS: ("it has no address that a connection could be known by", "call it as HTTP, or give it a ClusterIP"),
    Refusal.HOST_TAKEN: ("{holder} answers to {at}", "give the two services names of their own"),
    Refusal.NO_TARGET_PORT: (
        "its targetPort is a name that no container of the workload has",
        "name the container's port, or write its number",
    ),
    Refusal.PROTOCOL_CONFLICT: (
        "{holder} is older and says another protocol for {at}",
        "let Services with one target port agree on appProtocol, or on the prefix of the port's name",
    ),
}


class _Loss(NamedTuple):
    """Something that several proxies may have lost in the same way."""

    refused: Refused
    outbound: bool


def proxies(mesh: Mesh) -> Iterator[Step]:
    """A step for each connected proxy, then what they have in common."""
    losses: dict[_Loss, list[str]] = {}
    scopes: dict[Outbound, list[str]] = {}
    seen: dict[SeenKey, str] = {}
    routers: set[Router] = set()
    for node_id in mesh.keys(PROXIES):
        proxy, standpoint = mesh.rows(PROXIES).get(node_id), mesh.read(STANDPOINTS, node_id)
        if proxy is None or standpoint is None:
            continue
        inbound, outbound, router = mesh.read(INBOUNDS, node_id), mesh.read(OUTBOUNDS, node_id), mesh.read(ROUTERS, node_id)
        for refused in inbound.refused if inbound is not None else ():
            losses.setdefault(_Loss(refused, outbound=False), []).append(node_id)
        if outbound is not None:
            scopes.setdefault(outbound, []).append(node_id)
        if router is not None:
            routers.add(router)
        _look(mesh, node_id, seen)
        yield (_standing(mesh, proxy, standpoint),)
    for scope, ids in scopes.items():
        for refused in _outbound(mesh, scope):
            losses.setdefault(_Loss(refused, outbound=True), []).extend(ids)
        yield ()
    for loss, ids in losses.items():
        yield (_lost(mesh, loss, ids),)
    for router in sorted(routers):
        yield (_conflicts(mesh, router),)
    yield (_rounded(mesh, seen),)


def _standing(mesh: Mesh, proxy: Proxy, standpoint: Standpoint) -> Iterator[Finding]:
    at = ObjectRef(Kind.PROXY, proxy.id)
    clusters = mesh.keys(CLUSTERS)
    if proxy.cluster and proxy.cluster not in clusters:
        yield mesh.finding(
            "proxy-cluster-unknown",
            at,
            f"its CLUSTER_ID is {proxy.cluster}, which is none of the configured clusters ({listed(clusters)})",
            "let metadata CLUSTER_ID be the name of a cluster, as under clusters",
        )
    known = {network for network in mesh.on_network if network}
    if not standpoint.network and len(known) > 1:
        yield mesh.finding(
            "proxy-network-unknown",
            at,
            f"its network is not known, so it is given endpoints on {listed(sorted(known))} through gateways where there are any, else as "
            "they are",
            "set metadata NETWORK, or CLUSTER_ID to a cluster of known network",
        )
    unknown = sorted(set(standpoint.view or ()) - known)
    if unknown:
        yield mesh.finding(
            "network-view-unknown",
            at,
            f"its REQUESTED_NETWORK_VIEW names {listed(unknown)}, where no endpoint is",
            "write networks by the names that the clusters have; leave it out to see all",
        )


# -- what it does not get -----------------------------------------------------------------------------------------------------


def _outbound(mesh: Mesh, scope: Outbound) -> Iterator[Refused]:
    ports = mesh.read(OUTBOUND_PORTS, scope)
    yield from ports.refused
    for number, _ in ports.http:
        yield from mesh.read(ROUTE_HOSTS, (routes_scope(scope), number)).refused


def _lost(mesh: Mesh, loss: _Loss, ids: list[str]) -> Iterator[Finding]:
    refused = loss.refused
    service = mesh.read(MESH_SERVICES, refused.service.service)
    if service is None or refused.reason not in LISTENER_FINDINGS:
        return
    if refused.reason is Refusal.NO_ADDRESS and not service.external_name:
        return  # service-without-vip says it of the cluster
    cause, remedy = _WORDS[refused.reason]
    holder = f"Service {refused.holder.service} port {refused.holder.port}" if refused.holder else "another service"
    unique = sorted(set(ids))
    thing = "route" if refused.reason is Refusal.HOST_TAKEN else "listener"
    yield mesh.finding(
        LISTENER_FINDINGS[refused.reason],
        service_ref(ObjectKey(service.clusters[0], *service.key)),
        f"{'clients get' if loss.outbound else 'its workload gets'} no {thing} for it: {cause.format(holder=holder, at=refused.at)}. "
        f"It touches {listed(unique)}",
        remedy,
        about=f"Service {refused.service.service} port {refused.service.port}",
    )


def _conflicts(mesh: Mesh, router: Router) -> Iterator[Finding]:
    """Between Gateways of one router; what is wrong with each alone is told without any router."""
    for refused in mesh.read(SERVERS, router).refused:
        gateway = mesh.rows(GATEWAYS).get(refused.gateway)
        if refused.reason is Refusal.SERVER_CONFLICT and gateway is not None:
            yield refused_server(mesh, gateway, refused)


# -- weights ------------------------------------------------------------------------------------------------------------------


def _look(mesh: Mesh, node_id: str, seen: dict[SeenKey, str]) -> None:
    """Which service ports this proxy sees, and from which horizon."""
    for parts in mesh.read(TABLES_OF, node_id):
        for part in parts:
            if part.type_url == EDS:
                for _, ref in mesh.read(MANIFESTS, part):
                    if ref.collection is ASSIGNMENTS:
                        seen.setdefault(ref.key[1], node_id)


def _rounded(mesh: Mesh, seen: dict[SeenKey, str]) -> Iterator[Finding]:
    for key, node_id in sorted(seen.items(), key=lambda entry: (entry[0].port, entry[1])):
        service = mesh.read(MESH_SERVICES, key.port.service)
        if service is not None and mesh.read(SEEN, key).rounded:
            yield mesh.finding(
                "weights-rounded",
                service_ref(ObjectKey(service.clusters[0], *service.key)),
                f"the weights of its endpoints add up to more than Envoy can hold, and are scaled down; so seen by {node_id}",
                "nothing: the proportions are kept as well as whole numbers can",
                about=f"Service {key.port.service} port {key.port.port}",
            )
