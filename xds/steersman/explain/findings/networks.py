"""Networks: who claims them, and how they are reached from each other."""

from collections.abc import Iterator
from difflib import get_close_matches
from ipaddress import ip_network

from steersman.explain.findings.mesh import Mesh, Step, listed, service_ref
from steersman.model.config import MissingGateway
from steersman.model.facts import Finding, Severity
from steersman.model.ids import NetworkID, ObjectKey, label, selects
from steersman.model.mesh import NetworkGateways, ObjectRef
from steersman.model.objects import Kind, Service, TLSMode
from steersman.names import GATEWAY_PORT_LABEL, NETWORK_LABEL, TLS_MODE_ISTIO, TLS_MODE_LABEL
from steersman.registry.collections import (
    CIDR_NETWORKS,
    CLUSTER_NETWORKS,
    CLUSTERS,
    GATEWAYS,
    GATEWAYS_IN,
    MESH_SERVICES,
    NETWORK_GATEWAYS,
    NETWORKS,
    PROXIES,
    SERVICES,
    SERVICES_OF_NETWORK,
)
from steersman.registry.endpoints import selected_pods

_MESH = ObjectRef(Kind.MESH, "")


def networks(mesh: Mesh) -> Iterator[Step]:
    """After `services`, whose survey says what is where."""
    yield (_claims(mesh),)
    known = _known(mesh)
    yield (_clusters_without(mesh, known),)
    gateways: set[ObjectKey] = set()
    with_gateways = mesh.read(NETWORKS, "")
    for network in sorted(known.union(with_gateways)):
        found = mesh.read(NETWORK_GATEWAYS, network)
        gateways.update(gateway.source.key for gateway in found.gateways if gateway.source.kind is Kind.SERVICE)
        yield _gateways(mesh, network, found), _unreached(mesh, network, found, known)
    for network in sorted(set(with_gateways) - known):
        yield (_unused(mesh, network, known),)
    if len(known) > 1:
        yield (_plain(mesh, gateways),)


def _known(mesh: Mesh) -> set[NetworkID]:
    """The networks on which something is."""
    of_clusters = {mesh.read(CLUSTER_NETWORKS, cluster)[0] for cluster in mesh.keys(CLUSTERS)}
    return (of_clusters | set(mesh.on_network)) - {NetworkID("")}


# -- claims -------------------------------------------------------------------------------------------------------------------


def _claims(mesh: Mesh) -> Iterator[Finding]:
    """mesh.networks: the first claim wins."""
    registries: dict[str, NetworkID] = {}
    ranges: list[tuple[str, NetworkID]] = []
    for network in mesh.config.networks:
        about = f"mesh.networks.{network.name}"
        for claim in network.endpoints:
            if claim.from_registry:
                holder = registries.setdefault(claim.from_registry, network.name)
                if claim.from_registry not in mesh.rows(CLUSTERS):
                    cause = f"fromRegistry names cluster {claim.from_registry}, which is none of the configured clusters"
                    yield mesh.finding(
                        "network-of-unknown-cluster", _MESH, cause, "write the name of a cluster, as under clusters", about=about
                    )
                elif holder != network.name:
                    cause = f"fromRegistry {claim.from_registry}: network {holder} claims this cluster before, and keeps it"
                    yield mesh.finding("cluster-claimed-twice", _MESH, cause, "let one network claim each cluster", about=about)
            else:
                for other, owner in ranges:
                    if owner != network.name and _overlap(claim.from_cidr, other):
                        cause = f"fromCidr {claim.from_cidr} overlaps with {other} of network {owner}, which is asked first"
                        yield mesh.finding("range-claimed-twice", _MESH, cause, "let ranges of different networks be disjoint", about=about)
                ranges.append((claim.from_cidr, network.name))


def _overlap(one: str, other: str) -> bool:
    first, second = ip_network(one), ip_network(other)
    return first.version == second.version and first.overlaps(second)


def _clusters_without(mesh: Mesh, known: set[NetworkID]) -> Iterator[Finding]:
    if not known or mesh.read(CIDR_NETWORKS, ""):
        return
    for cluster in mesh.keys(CLUSTERS):
        if not mesh.read(CLUSTER_NETWORKS, cluster)[0]:
            yield mesh.finding(
                "cluster-without-network",
                ObjectRef(Kind.CLUSTER, cluster),
                f"its network is not known, while others are on {listed(sorted(known))}: its endpoints count as reachable from everywhere",
                f"set clusters[].network, or label the namespace {mesh.config.root_namespace} of that cluster with {NETWORK_LABEL}",
            )


# -- gateways -----------------------------------------------------------------------------------------------------------------


def _gateways(mesh: Mesh, network: NetworkID, found: NetworkGateways) -> Iterator[Finding]:
    for source, reason in found.ignored:
        if reason.startswith(f"label {GATEWAY_PORT_LABEL}"):
            continue  # the source of the Service has said so: bad-gateway-port
        yield mesh.finding(
            "network-gateway-ignored",
            source,
            f"as a gateway of network {network}: {reason}",
            "give it an address and a port that other networks can reach, or take away what makes it a gateway",
        )
    told: set[ObjectKey] = set()
    for gateway in found.gateways:
        service = mesh.rows(SERVICES).get(gateway.source.key) if gateway.source.kind is Kind.SERVICE else None
        if service is not None and service.key not in told:
            told.add(service.key)
            yield from _unopened(mesh, network, service)


def _unopened(mesh: Mesh, network: NetworkID, service: Service) -> Iterator[Finding]:
    """A gateway whose Envoys get no listener for traffic of other networks."""
    pods = selected_pods(mesh.read, service)
    if not pods:
        return
    for key in mesh.read(GATEWAYS_IN, service.key.cluster):
        gateway = mesh.rows(GATEWAYS).get(key)
        if gateway is None or not any(server.tls_mode is TLSMode.AUTO_PASSTHROUGH for server in gateway.servers):
            continue
        if not gateway.selector or any(selects(gateway.selector, pod.labels) for pod in pods):
            return
    yield mesh.finding(
        "network-gateway-without-passthrough",
        service_ref(service.key),
        f"it is a gateway of network {network}, but no Istio Gateway in cluster {service.key.cluster} with a server of tls.mode "
        "AUTO_PASSTHROUGH selects its Pods, so they refuse what other networks send",
        "create a Gateway that selects them, with a server on the gateway's port, protocol TLS, tls.mode AUTO_PASSTHROUGH and the "
        "hosts to expose",
    )


def _unused(mesh: Mesh, network: NetworkID, known: set[NetworkID]) -> Iterator[Finding]:
    """Services that are gateways of a network on which nothing is: a name misspelt, here or where the network is given."""
    declared = {config.name for config in mesh.config.networks}
    if network in declared or any(proxy.network == network for proxy in list(mesh.rows(PROXIES).values())):
        return
    near = get_close_matches(network, sorted(known | declared))
    for key in mesh.read(SERVICES_OF_NETWORK, network):
        yield mesh.finding(
            "gateway-of-unused-network",
            service_ref(key),
            f"it is labelled as a gateway of network {network}, on which nothing is"
            + (f"; is {' or '.join(near)} meant?" if near else f": the networks are {listed(sorted(known))}" if known else ""),
            f"let the label {NETWORK_LABEL} name the network as clusters[].network, or the label of the namespace "
            f"{mesh.config.root_namespace}, does",
        )


def _unreached(mesh: Mesh, network: NetworkID, found: NetworkGateways, known: set[NetworkID]) -> Iterator[Finding]:
    services = mesh.on_network.get(network, set())
    if found.gateways or not services or len(known) < 2:
        return
    own = next((config.missing_gateway for config in mesh.config.networks if config.name == network), None)
    direct = (own or mesh.config.missing_gateway) is MissingGateway.DIRECT
    fate = (
        "proxies on other networks get their addresses as they are (missingGateway: direct)" if direct else "other networks don't get them"
    )
    yield mesh.finding(
        "network-without-gateway",
        _MESH,
        f"Services {listed(sorted(services))} have endpoints on it, but it has no gateway: {fate}",
        f"label the Service of its east-west gateway with {NETWORK_LABEL}={network}, or name the gateway under "
        f"mesh.networks.{network}.gateways",
        about=f"network {network}",
        severity=Severity.WARNING if direct else Severity.ERROR,
    )


def _plain(mesh: Mesh, gateways: set[ObjectKey]) -> Iterator[Finding]:
    """Services that other networks can't reach, in whole or in part, since SNI needs mTLS. What is local to its cluster isn't meant to
    be reached."""
    for key, examples in sorted(mesh.plain.items()):
        service = mesh.read(MESH_SERVICES, key)
        if service is None or service.cluster_local or service.node_local:
            continue
        objects = [ObjectKey(cluster, *key) for cluster in service.clusters]
        if any(one in gateways or label(_labels(mesh, one), NETWORK_LABEL) for one in objects):
            continue
        where = listed(f"{network} ({example})" for network, example in sorted(examples.items()))
        yield mesh.finding(
            "service-not-mtls",
            service_ref(objects[0]),
            f"endpoints without mTLS on network {where} can't be reached from other networks: a gateway needs SNI, which only mTLS carries",
            f"give the Pods a sidecar and the label {TLS_MODE_LABEL}: {TLS_MODE_ISTIO}; nothing, if only their own network calls them",
            about=f"Service {key}",
        )


def _labels(mesh: Mesh, key: ObjectKey) -> tuple[tuple[str, str], ...]:
    service = mesh.rows(SERVICES).get(key)
    return service.labels if service is not None else ()
