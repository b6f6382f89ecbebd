"""Services, their endpoints, and the objects that list those."""

from collections.abc import Iterator

from steersman.explain.findings.mesh import Mesh, Step, listed, service_ref
from steersman.model.facts import Finding, Severity
from steersman.model.ids import NetworkID, ObjectKey, ServicePortKey
from steersman.model.mesh import Endpoint, MeshService, ObjectRef, Rule, Unusable
from steersman.model.objects import Kind, Protocol, Service, ServiceType
from steersman.registry.addresses import parse_address
from steersman.registry.collections import (
    CELL_INDEX,
    CELLS,
    CLUSTERS,
    ENDPOINT_SOURCES,
    IDENTITIES,
    MESH_SERVICES,
    PODS,
    SERVICE_KEYS,
    SERVICES,
    SERVICES_AT,
    SLICES,
    SLICES_OF,
    VIPS,
    CellKey,
    ClusterAddress,
)
from steersman.registry.endpoints import endpoints_from, selected_pods, unusable_from

# -- services of the mesh -----------------------------------------------------------------------------------------------------


def services(mesh: Mesh) -> Iterator[Step]:
    """A step for each service, with its Services in all clusters. Also surveys on which networks its endpoints are (see Mesh)."""
    owners: dict[tuple[NetworkID, str], ObjectKey] = {}
    for key in mesh.read(SERVICE_KEYS, ""):
        service = mesh.read(MESH_SERVICES, key)
        if service is not None:
            found = (mesh.rows(SERVICES).get(ObjectKey(cluster, *key)) for cluster in service.clusters)
            objects = [one for one in found if one is not None and one.type is not ServiceType.EXTERNAL_NAME]
            sources = (_sources(mesh, one) for one in objects)
            yield _service(mesh, service), _endpoints(mesh, service, owners), *sources, _selection(mesh, objects)


def _service(mesh: Mesh, service: MeshService) -> Iterator[Finding]:
    for conflict in service.conflicts:
        yield mesh.finding(
            "service-conflict",
            service_ref(conflict.loser),
            f"{f'port {conflict.port}: ' if conflict.port else ''}the mesh takes {conflict.what}, since Service {conflict.winner} is older",
            "let the Services of one namespace and name say the same in all clusters",
        )
    if mesh.read(IDENTITIES, service.key).unknown:
        yield mesh.finding(
            "identity-unknown",
            service_ref(ObjectKey(service.clusters[0], *service.key)),
            "some endpoints speak mTLS, but whose certificate they have is not known, so no client accepts them",
            "let EndpointSlices name the Pods (targetRef) that stand behind their addresses",
        )
    yield from _vips(mesh, service)


def _vips(mesh: Mesh, service: MeshService) -> Iterator[Finding]:
    """Where clients can't address the service by an IP of its own."""
    own = dict(service.vips)
    for cluster, addresses in service.vips:
        lost = [address for address in addresses if address not in mesh.read(VIPS, (service.key, cluster))]
        if lost:
            holders = {holder for ip in lost for holder in mesh.read(SERVICES_AT, ClusterAddress(cluster, ip))}
            others = holders - {ObjectKey(cluster, *service.key)}
            yield mesh.finding(
                "vip-taken",
                service_ref(ObjectKey(cluster, *service.key)),
                f"its ClusterIP {listed(lost)} is that of Service {listed(sorted(others))} as well, which is older",
                "give each Service of a cluster a ClusterIP of its own",
            )
    if not own or service.cluster_local:
        return
    without = [cluster for cluster in mesh.keys(CLUSTERS) if cluster not in own and not mesh.read(VIPS, (service.key, cluster))]
    if without:
        tcp = [port.port for port in service.ports if not port.protocol.is_http and port.protocol is not Protocol.UDP]
        lost_ports = f"; its TCP ports ({listed(tcp)}) are out of reach there" if tcp else ""
        yield mesh.finding(
            "service-without-vip",
            service_ref(ObjectKey(service.vips[0][0], *service.key)),
            f"in cluster {listed(without)} no IP stands for it: it has no Service there, and its ClusterIPs elsewhere are used "
            f"for something else, so clients reach it by Host only{lost_ports}",
            "create the Service in those clusters as well; it needs no endpoints there",
            severity=Severity.WARNING if tcp else Severity.INFO,
        )


# -- endpoints ----------------------------------------------------------------------------------------------------------------


def _endpoints(mesh: Mesh, service: MeshService, owners: dict[tuple[NetworkID, str], ObjectKey]) -> Iterator[Finding]:
    told: set[tuple[ObjectKey | None, str]] = set()
    for port in service.ports:
        key = ServicePortKey(*service.key, port.port)
        index = mesh.read(CELL_INDEX, key)
        for traits, _ in index.cells:
            if traits.network:
                mesh.on_network.setdefault(traits.network, set()).add(service.key)
            endpoints = mesh.read(CELLS, CellKey(key, traits))
            if traits.network and not traits.mtls:
                first = endpoints[0]
                mesh.plain.setdefault(service.key, {}).setdefault(
                    traits.network, f"Pod {first.workload.pod}" if first.workload.pod else first.address
                )
            yield from _owned(mesh, endpoints, owners, told)
        for lost in index.duplicates:
            if (lost.workload.pod, lost.address) not in told:
                told.add((lost.workload.pod, lost.address))
                yield _duplicate(mesh, lost.source, lost.address, lost.workload.network, _owner(lost), str(lost.because))


def _owner(lost: Unusable) -> str:
    return f"Pod {lost.workload.pod}" if lost.workload.pod else str(lost.source)


def _owned(
    mesh: Mesh, endpoints: tuple[Endpoint, ...], owners: dict[tuple[NetworkID, str], ObjectKey], told: set[tuple[ObjectKey | None, str]]
) -> Iterator[Finding]:
    """Pods of different services with one address on one network. Pods on one node share its address where they use its network."""
    for endpoint in endpoints:
        pod = endpoint.workload.pod
        if pod is None:
            continue
        owner = owners.setdefault((endpoint.workload.network, endpoint.address), pod)
        if owner == pod or (pod, endpoint.address) in told or _share_a_node(mesh, owner, pod):
            continue
        told.add((pod, endpoint.address))
        yield _duplicate(mesh, endpoint.source, endpoint.address, endpoint.workload.network, f"Pod {pod}", f"Pod {owner}")


def _share_a_node(mesh: Mesh, one: ObjectKey, other: ObjectKey) -> bool:
    nodes = [row.node for key in (one, other) if (row := mesh.rows(PODS).get(key)) is not None]
    return one.cluster == other.cluster and len(nodes) == 2 and nodes[0] == nodes[1] != ""


def _duplicate(mesh: Mesh, source: ObjectRef, address: str, network: NetworkID, owner: str, other: str) -> Finding:
    where = f"network {network}" if network else "a network that is not known"
    return mesh.finding(
        "duplicate-address",
        source,
        f"{address} on {where} is the address of {owner} and of {other}: requests for one may reach the other",
        "give the two clusters networks of their own, if they have (clusters[].network), or pods addresses of their own",
        about=f"{owner} ({address})",
    )


# -- the objects --------------------------------------------------------------------------------------------------------------


def slices(mesh: Mesh) -> Iterator[Step]:
    """A step for each EndpointSlice."""
    for key in mesh.keys(SLICES):
        yield (_slice(mesh, key),)


def _slice(mesh: Mesh, key: ObjectKey) -> Iterator[Finding]:
    piece = mesh.rows(SLICES).get(key)
    if piece is not None and ObjectKey(key.cluster, key.namespace, piece.service) not in mesh.rows(SERVICES):
        yield mesh.finding(
            "slice-of-missing-service",
            ObjectRef(Kind.ENDPOINT_SLICE, key),
            f"it belongs to Service {key.namespace}/{piece.service}, which cluster {key.cluster} does not have",
            "create the Service, or delete the slice; the label kubernetes.io/service-name says to which it belongs",
        )


def _sources(mesh: Mesh, service: Service) -> Iterator[Finding]:
    usable: set[str] = set()
    unusable: dict[Rule, list[Unusable]] = {}
    for source in mesh.read(ENDPOINT_SOURCES, service.key):
        usable.update(name for name, endpoints in endpoints_from(mesh.read, source).ports if endpoints)
        for entry in unusable_from(mesh.read, source):
            unusable.setdefault(entry.rule, []).append(entry)
    yield from _missing_pods(mesh, unusable.get(Rule.POD_MISSING, []))
    yield from _bad_addresses(mesh, unusable.get(Rule.BAD_ADDRESS, []))
    for name in sorted({entry.port_name for entry in unusable.get(Rule.NO_PORT, [])} - usable):
        entries = [entry for entry in unusable[Rule.NO_PORT] if entry.port_name == name]
        yield mesh.finding(
            "port-without-endpoints",
            service_ref(service.key),
            f"its port {name!r} has no endpoint: {entries[0].source} {entries[0].note}",
            "call the port by the same name in the Service, its EndpointSlices and, for a named targetPort, the Pods",
        )


def _selection(mesh: Mesh, objects: list[Service]) -> Iterator[Finding]:
    """Selectors that match nothing, where no cluster's Service has anything: a Service whose pods run in other clusters only is as it
    should be."""
    if any(not one.selector or selected_pods(mesh.read, one) or _listed_at_all(mesh, one) for one in objects):
        return
    for service in objects:
        wanted = ",".join(f"{name}={value}" for name, value in service.selector)
        yield mesh.finding(
            "selector-matches-nothing",
            service_ref(service.key),
            f"no Pod in namespace {service.key.namespace} of cluster {service.key.cluster} is labelled {wanted}",
            "correct the selector or the Pods' labels; nothing, if the workload is scaled to zero",
        )


def _listed_at_all(mesh: Mesh, service: Service) -> bool:
    pieces = (mesh.rows(SLICES).get(key) for key in mesh.read(SLICES_OF, service.key))
    return any(piece is not None and piece.conditions for piece in pieces)


def _missing_pods(mesh: Mesh, entries: list[Unusable]) -> Iterator[Finding]:
    by_slice: dict[ObjectRef, dict[str, None]] = {}
    for entry in entries:
        by_slice.setdefault(entry.source, {})[entry.because.key.name] = None
    for source, pods in by_slice.items():
        yield mesh.finding(
            "pod-missing",
            source,
            f"it names Pod {listed(pods)}, which cluster {source.key.cluster} does not have, so these entries are no endpoints",
            "add the Pods; or remove targetRef from entries that stand for no Pod",
        )


def _bad_addresses(mesh: Mesh, entries: list[Unusable]) -> Iterator[Finding]:
    """Addresses that no host has. What is no address at all, or stands in the wrong slice, the object's source has told."""
    by_slice: dict[ObjectRef, dict[str, None]] = {}
    for entry in entries:
        if entry.address and parse_address(entry.address) is None and entry.address not in _flawed(mesh, entry.source):
            by_slice.setdefault(entry.source, {})[entry.address] = None
    for source, addresses in by_slice.items():
        yield mesh.finding(
            "bad-address", source, f"{listed(addresses)}: no host has such an address", "write the endpoint's IPv4 or IPv6 address"
        )


def _flawed(mesh: Mesh, source: ObjectRef) -> set[str]:
    piece = mesh.rows(SLICES).get(source.key) if source.kind is Kind.ENDPOINT_SLICE else None
    return {listed.address for listed in piece.endpoints if listed.flaw} if piece is not None else set()
