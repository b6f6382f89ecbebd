"""Who gets which address. Pure: the same manifests get the same addresses in every run."""

from collections.abc import Sequence
from hashlib import blake2b
from ipaddress import IPv4Network
from itertools import islice
from typing import NamedTuple

import msgspec

from steersman.errors import ConfigError
from steersman.lab.isolation import Isolation
from steersman.lab.labfile import LabFile
from steersman.lab.manifests import Manifests, Object, labels_of
from steersman.model.ids import ClusterID, NetworkID, ObjectKey


class PodAddress(NamedTuple):
    """`ip`: what others dial. `app`: where the containers beside a sidecar listen. `outbound`: where they reach it; "" if what they
    send is captured."""

    ip: str
    app: str
    outbound: str = ""


class Router(NamedTuple):
    """What stands between a network's pods and everything else. `pods`: its address among them, their default route."""

    pods: str
    wan: str
    management: str


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """`external`: of a Service of type LoadBalancer, the address given to each pod behind it. `control`: the control plane's."""

    isolation: Isolation
    pods: dict[ObjectKey, PodAddress]
    vips: dict[ObjectKey, str]
    external: dict[ObjectKey, tuple[tuple[str, ObjectKey], ...]]
    routers: dict[NetworkID, Router]
    control: str


def addresses(lab: LabFile, clusters: Sequence[Manifests], isolation: Isolation, slot: int = 1) -> Addresses:
    """`slot`: 1 to 254, which 127.SLOT.0.0/16 is this run's without namespaces. Raises ConfigError where a range is too small."""
    networks = {cluster.name: cluster.network for cluster in lab.clusters}
    if isolation is Isolation.NAMESPACES:
        pods = _pods_in_namespaces(lab, clusters, networks)
        routers, external = _wide_area(lab, clusters)
        control = str(next(IPv4Network(lab.ground.management).hosts()))
    else:
        pods = _pods_on_loopback(lab, clusters, slot)
        routers, control = {}, f"127.{slot}.0.1"
        external = {service: tuple((pods[pod].ip, pod) for pod in behind) for service, behind in _load_balanced(clusters)}
    vips = {}
    for manifests in clusters:
        vips.update(_vips(manifests, lab.ranges(networks[manifests.cluster]).services, lab))
    return Addresses(isolation=isolation, pods=pods, vips=vips, external=external, routers=routers, control=control)


def selected(manifests: Manifests, service: Object) -> list[Object]:
    """The pods that a Service selects, by name."""
    selector = (service["spec"].get("selector") or {}).items()
    namespace = manifests.key(service).namespace
    pods = [pod for pod in manifests.of_kind("Pod") if manifests.key(pod).namespace == namespace]
    return sorted((pod for pod in pods if selector and selector <= labels_of(pod).items()), key=manifests.key)


def _pods_in_namespaces(lab: LabFile, clusters: Sequence[Manifests], networks: dict[ClusterID, NetworkID]) -> dict[ObjectKey, PodAddress]:
    free = {network: islice(IPv4Network(lab.ranges(network).pods).hosts(), 1, None) for network in lab.networks}
    found = {}
    for manifests in clusters:
        network = networks[manifests.cluster]
        for key in sorted(map(manifests.key, manifests.of_kind("Pod"))):
            address = next(free[network], None)
            if address is None:
                raise ConfigError(
                    str(lab.path), f"lab.networks.{network}.pods", lab.ranges(network).pods, "a range with an address for every pod"
                )
            found[key] = PodAddress(ip=str(address), app="127.0.0.1")
    return found


def _pods_on_loopback(lab: LabFile, clusters: Sequence[Manifests], slot: int) -> dict[ObjectKey, PodAddress]:
    found = {}
    for index, manifests in enumerate(clusters, start=1):
        keys = sorted(map(manifests.key, manifests.of_kind("Pod")))
        if index > 63 or len(keys) > 254:
            raise ConfigError(str(lab.path), "config.clusters", len(keys), "at most 63 clusters of 254 pods without namespaces")
        for number, key in enumerate(keys, start=1):
            pod, app, outbound = (f"127.{slot}.{4 * index + part}.{number}" for part in range(3))
            found[key] = PodAddress(pod, app, outbound)
    return found


def _load_balanced(clusters: Sequence[Manifests]) -> list[tuple[ObjectKey, list[ObjectKey]]]:
    return [
        (manifests.key(service), [manifests.key(pod) for pod in selected(manifests, service)])
        for manifests in clusters
        for service in manifests.of_kind("Service")
        if service["spec"].get("type") == "LoadBalancer"
    ]


def _wide_area(
    lab: LabFile, clusters: Sequence[Manifests]
) -> tuple[dict[NetworkID, Router], dict[ObjectKey, tuple[tuple[str, ObjectKey], ...]]]:
    wan, management = IPv4Network(lab.ground.wan).hosts(), islice(IPv4Network(lab.ground.management).hosts(), 1, None)
    balanced = _load_balanced(clusters)
    if len(lab.networks) + sum(len(behind) for _, behind in balanced) > IPv4Network(lab.ground.wan).num_addresses - 2:
        raise ConfigError(
            str(lab.path), "lab.wan", lab.ground.wan, "a range with an address for every network and every pod of a LoadBalancer"
        )
    if len(lab.networks) > IPv4Network(lab.ground.management).num_addresses - 3:
        raise ConfigError(str(lab.path), "lab.management", lab.ground.management, "a range with an address for every network")
    routers = {}
    for network in lab.networks:
        inside = str(next(IPv4Network(lab.ranges(network).pods).hosts()))
        routers[network] = Router(pods=inside, wan=str(next(wan)), management=str(next(management)))
    return routers, {service: tuple((str(next(wan)), pod) for pod in behind) for service, behind in balanced}


def _vips(manifests: Manifests, services: str, lab: LabFile) -> dict[ObjectKey, str]:
    """A ClusterIP for every Service that wants one and names none: by hash, so that it differs between clusters, as real ones do."""
    hosts = [str(host) for host in IPv4Network(services).hosts()]
    wanting = sorted(
        (service for service in manifests.of_kind("Service") if service["spec"].get("type") != "ExternalName"), key=manifests.key
    )
    found = {manifests.key(service): service["spec"]["clusterIP"] for service in wanting if service["spec"].get("clusterIP")}
    taken = set(found.values())
    if len(wanting) > len(hosts):
        raise ConfigError(str(lab.path), "lab.networks", services, "a range with an address for every service")
    for key in (manifests.key(service) for service in wanting):
        if key in found:
            continue
        place = int.from_bytes(blake2b(str(key).encode(), digest_size=8).digest())
        while hosts[place % len(hosts)] in taken:
            place += 1
        found[key] = hosts[place % len(hosts)]
        taken.add(found[key])
    return found
