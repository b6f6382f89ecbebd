"""The Services of all clusters as the services of one mesh."""

from collections.abc import Iterable
from itertools import chain

from steersman.graph import Reader
from steersman.model.ids import ClusterID, ObjectKey, ServiceKey, label
from steersman.model.mesh import Conflict, MeshService, ServicePort
from steersman.model.objects import Port, Protocol, Service, ServiceType
from steersman.names import SESSION_LABEL, hostname
from steersman.registry.collections import (
    ALL_CLUSTERS,
    ALL_SERVICES,
    LIMITED_SERVICES,
    MESH_SERVICES,
    PODS_AT,
    SERVICE_KEYS,
    SERVICES,
    SERVICES_AT,
    SERVICES_NAMED,
    ClusterAddress,
)
from steersman.registry.mesh import mesh_of


def age(service: Service) -> tuple[str, ObjectKey]:
    """What settles every dispute between Services: the oldest wins, then the lowest cluster, namespace and name."""
    return (service.created, service.key)


def services_named(read: Reader, key: ServiceKey) -> list[Service]:
    """Every cluster's Service of that namespace and name, the oldest first."""
    found = (read(SERVICES, object_key) for object_key in read(SERVICES_NAMED, key))
    return sorted((service for service in found if service is not None), key=age)


def port_numbered(service: Service, number: int) -> Port | None:
    """A cluster's own port of that number: its name, by which its EndpointSlices call it, may differ from other clusters'.

    Where a number is used for UDP and something else (DNS), it is the something else.
    """
    found = None
    for port in service.ports:
        if port.port == number and (found is None or found.protocol is Protocol.UDP):
            found = port
    return found


def service_keys(read: Reader, key: str) -> tuple[ServiceKey, ...]:
    """Every service of the mesh, sorted."""
    return tuple(sorted({ServiceKey(found.namespace, found.name) for found in read(ALL_SERVICES, "")}))


def mesh_service(read: Reader, key: ServiceKey) -> MeshService | None:
    """The Services of that namespace and name in all clusters, as one; None where no cluster has any.

    Ports are merged by number. What two clusters say differently is the oldest Service's to say, and is kept as a conflict.
    `cluster_local` is what Istio holds local by default: everything in kube-system, and the API server's own Service.
    `node_local`: a cluster's Service has internalTrafficPolicy Local, which binds the endpoints of that cluster.
    """
    services = services_named(read, key)
    if not services:
        return None
    oldest = services[0]
    ports, conflicts = _merged_ports(services)
    return MeshService(
        key=key,
        hostname=hostname(key, mesh_of(read).domain),
        clusters=tuple(sorted(service.key.cluster for service in services)),
        created=oldest.created,
        ports=ports,
        vips=tuple(sorted((service.key.cluster, service.cluster_ips) for service in services if service.cluster_ips)),
        headless=oldest.headless,
        external_name=oldest.external_name if oldest.type is ServiceType.EXTERNAL_NAME else "",
        export_to=oldest.export_to,
        cluster_local=key.namespace == "kube-system" or key == ("default", "kubernetes"),
        node_local=any(service.node_local for service in services),
        session=bool(label(oldest.labels, SESSION_LABEL)),
        labels=oldest.labels,
        conflicts=tuple(sorted(chain(conflicts, _conflicts_of_type(services)), key=lambda found: (found.port, found.loser, found.what))),
    )


def _merged_ports(services: list[Service]) -> tuple[tuple[ServicePort, ...], list[Conflict]]:
    held: dict[int, tuple[Service, Port]] = {}
    conflicts = []
    for service in services:
        for number in sorted({port.port for port in service.ports}):
            port = port_numbered(service, number)
            assert port is not None
            winner, mine = held.get(number, (service, port))
            if mine.protocol is Protocol.UDP:
                winner, mine = service, port
            held[number] = winner, mine
            if Protocol.UDP is not port.protocol is not mine.protocol:
                what = f"protocol {mine.protocol}, not {port.protocol}"
                conflicts.append(Conflict(port=number, what=what, winner=winner.key, loser=service.key))
    ports = (ServicePort(name=port.name, port=number, protocol=port.protocol) for number, (_, port) in sorted(held.items()))
    return tuple(ports), conflicts


def _conflicts_of_type(services: list[Service]) -> Iterable[Conflict]:
    oldest = services[0]
    for service in services[1:]:
        for said, instead in ((_shape(oldest), _shape(service)), (_exported(oldest), _exported(service))):
            if said != instead:
                yield Conflict(port=0, what=f"{said}, not {instead}", winner=oldest.key, loser=service.key)


def _shape(service: Service) -> str:
    if service.type is ServiceType.EXTERNAL_NAME:
        return f"ExternalName {service.external_name}"
    return "headless" if service.headless else "ClusterIP"


def _exported(service: Service) -> str:
    return f"exportTo {','.join(service.export_to) or '*'}"


def visible_services(read: Reader, namespace: str) -> tuple[ServiceKey, ...]:
    """The services that a client in that namespace may use, sorted. Only Services with an exportTo are looked at one by one."""
    hidden = set()
    for limited in read(LIMITED_SERVICES, ""):
        key = ServiceKey(limited.namespace, limited.name)
        service = read(MESH_SERVICES, key)
        if service is not None and not service.visible_in(namespace):
            hidden.add(key)
    every = read(SERVICE_KEYS, "")
    return tuple(key for key in every if key not in hidden) if hidden else every


def vips(read: Reader, key: tuple[ServiceKey, ClusterID]) -> tuple[str, ...]:
    """The addresses by which a proxy in that cluster knows the service.

    Its own cluster's, where the service has any there. Else those of the lowest other cluster by name whose addresses mean nothing else
    there: no Service and no pod of the proxy's cluster holds one, nor another Service of a cluster lower still, so that no address means
    two services.
    """
    name, cluster = key
    service = read(MESH_SERVICES, name)
    if service is None:
        return ()
    addresses = dict(service.vips)
    if cluster in addresses:
        return tuple(ip for ip in addresses[cluster] if _holder(read, cluster, ip) == name)
    clusters = read(ALL_CLUSTERS, "")
    for other, foreign in service.vips:
        senior = [cluster, *(known for known in clusters if known < other), other]
        if all(_free(read, name, cluster, senior, ip) for ip in foreign):
            return foreign
    return ()


def _free(read: Reader, name: ServiceKey, cluster: ClusterID, senior: Iterable[ClusterID], ip: str) -> bool:
    if any(pod.cluster == cluster for pod in read(PODS_AT, ip)):
        return False
    return all(_holder(read, held_in, ip) in (None, name) for held_in in senior)


def _holder(read: Reader, cluster: ClusterID, ip: str) -> ServiceKey | None:
    """The service that an address means in a cluster: the oldest, where files give one address to several."""
    found = [service for held in read(SERVICES_AT, ClusterAddress(cluster, ip)) if (service := read(SERVICES, held)) is not None]
    if not found:
        return None
    oldest = min(found, key=age)
    return ServiceKey(oldest.key.namespace, oldest.key.name)
