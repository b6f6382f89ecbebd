"""Meshes of any size as files, and the first requests of the proxies in them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest
from google.protobuf import json_format

from steersman.names import CDS, EDS, LDS, RDS, SDS
from steersman.server.bootstrap import node_metadata
from tests.bench.http2 import Acknowledgement
from tests.support.live import ControlPlane
from tests.support.objects import NAMESPACE, Object, as_json, eastwest, endpoint, pod, service, slice_of
from tests.support.streams import DeltaStream

PORTS = {"http": (80, 8080)}
EXTENSIONS = 516
"""What an Envoy 1.40 lists in its first request, which takes 61 KB."""


class Mesh:
    """So many services with so many endpoints each, spread evenly over the clusters of the control plane, each a network with a gateway."""

    def __init__(self, plane: ControlPlane, services: int, endpoints: int) -> None:
        self._directories = list(plane.clusters.values())
        self._names = list(plane.clusters)
        self.services = services
        networks = len(self._directories)
        self._pods = [endpoints // networks + (number < endpoints % networks) for number in range(networks)]
        """Endpoints of each service, by cluster."""
        self._ready = False
        for cluster in range(networks):
            self._write(cluster)
        self.turn()

    def _write(self, cluster: int) -> None:
        directory = self._directories[cluster]
        directory.put("gateway.json", eastwest(f"network-{self._names[cluster]}", f"192.0.2.{cluster + 1}", 15443))
        for first in range(0, self.services, 100):
            objects: list[Object] = []
            for number in range(first, min(first + 100, self.services)):
                objects += [self._service(number), *self._pods_of(cluster, number)]
                if (cluster, number) != (0, 0):
                    objects.append(self._slice(cluster, number, ready=True))
            directory.put(f"services-{first}.json", *objects)

    def turn(self) -> None:
        """One endpoint of the first service becomes ready, or unready again, in a file replaced by rename."""
        self._ready = not self._ready
        self._directories[0].write("slice.json", as_json([self._slice(0, 0, ready=self._ready)]))

    def _service(self, number: int) -> Object:
        return service(f"service-{number}", PORTS, ip=f"10.96.{number // 250}.{number % 250 + 1}")

    def _address(self, cluster: int, number: int, place: int) -> str:
        index = number * self._pods[cluster] + place
        return f"10.{100 + cluster * 20 + index // 62_500}.{index // 250 % 250}.{index % 250 + 1}"

    def _pods_of(self, cluster: int, number: int) -> list[Object]:
        name = f"service-{number}"
        return [pod(f"{name}-{place}", self._address(cluster, number, place), app=name) for place in range(self._pods[cluster])]

    def _slice(self, cluster: int, number: int, *, ready: bool) -> Object:
        name = f"service-{number}"
        entries = [endpoint(f"{name}-{place}", self._address(cluster, number, place)) for place in range(self._pods[cluster])]
        if not ready:
            entries[-1] = endpoint(
                f"{name}-{self._pods[cluster] - 1}", self._address(cluster, number, self._pods[cluster] - 1), ready=False
            )
        return slice_of(name, {"http": 8080}, entries)

    def proxies(self, count: int) -> Iterator["Client"]:
        """The sidecars of so many pods, taken evenly from all clusters, then from all services."""
        clusters = len(self._directories)
        for index in range(count):
            cluster, rest = index % clusters, index // clusters
            number, place = rest % self.services, rest // self.services
            name = f"service-{number}"
            assert place < self._pods[cluster], "more proxies than pods"
            yield Client(f"{name}-{place}", self._address(cluster, number, place), self._names[cluster], name)

    def strangers(self, count: int) -> Iterator["Client"]:
        """Sidecars of pods that the first cluster does not list, all alike."""
        for number in range(count):
            yield Client(f"client-{number}", f"10.90.{number // 250}.{number % 250 + 1}", self._names[0], "client")


class Client(NamedTuple):
    """A sidecar that captures its pod's traffic."""

    name: str
    ip: str
    cluster: str
    account: str

    @property
    def id(self) -> str:
        return f"sidecar~{self.ip}~{self.name}.{NAMESPACE}~{NAMESPACE}.svc.cluster.local"

    def node(self) -> Node:
        account = self.account
        metadata = node_metadata(
            cluster=self.cluster, namespace=NAMESPACE, service_account=account, workload=account, labels={"app": account}
        )
        fields = {"id": self.id, "cluster": account, "metadata": metadata, "user_agent_name": "envoy"}
        node: Node = json_format.ParseDict(fields, Node())
        return node


Names = dict[str, Sequence[str]]
"""What a proxy subscribes to by name, by type."""
Versions = dict[str, dict[str, str]]
"""What it holds, by type and name."""


def names_of(client: Client, address: str) -> Names:
    """What a proxy that stands there comes to ask for: asked of the server itself, as an Envoy is led from one name to the next."""
    with DeltaStream(address, json_format.MessageToDict(client.node(), preserving_proto_field_name=True)) as stream:
        found = stream.everything()
    return {type_url: sorted(name for of, name in found if of == type_url) for type_url in (EDS, RDS, SDS)}


def delta_requests(client: Client, names: Names, held: Versions | None = None) -> list[bytes]:
    """The first request of each type, as Envoy has them once it knows all; the first one with the Node and all its extensions.

    `held`: what it says that it holds.
    """
    requests: list[bytes] = []
    for type_url in (CDS, EDS, LDS, RDS, SDS):
        initial = held.get(type_url, {}) if held is not None else {}
        request = DeltaDiscoveryRequest(
            type_url=type_url, resource_names_subscribe=names.get(type_url, ()), initial_resource_versions=initial
        )
        if type_url not in (CDS, LDS) and not request.resource_names_subscribe:
            continue
        requests.append(request.SerializeToString() if requests else request.SerializeToString() + _node_field(1, client))
    return requests


def sotw_requests(client: Client, names: Names) -> tuple[list[bytes], Acknowledgement]:
    """The same in the state-of-the-world variant, and how its responses are acknowledged: with all names, each time."""
    requests: list[bytes] = []
    before: dict[bytes, bytes] = {}
    for type_url in (CDS, EDS, LDS, RDS, SDS):
        request = DiscoveryRequest(resource_names=names.get(type_url, ()))
        if type_url not in (CDS, LDS) and not request.resource_names:
            continue
        before[type_url.encode()] = request.SerializeToString()
        request.type_url = type_url
        requests.append(request.SerializeToString() if requests else request.SerializeToString() + _node_field(2, client))
    return requests, Acknowledgement(4, 5, before)


def _node_field(number: int, client: Client) -> bytes:
    """A field of a request. Fields may come in any order, and one that comes twice is merged: the extensions are made once."""
    own: bytes = client.node().SerializeToString()
    body = own + _EXTENSIONS
    return bytes((number << 3 | 2,)) + _varint(len(body)) + body


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def _extensions() -> bytes:
    node = Node()
    for number in range(EXTENSIONS):
        node.extensions.add(
            name=f"envoy.filters.network.some_extension_of_that_kind_{number}",
            category="envoy.filters.network",
            type_urls=[f"envoy.extensions.v3.Config{number}"],
        )
    encoded: bytes = node.SerializeToString()
    return encoded


_EXTENSIONS: bytes = _extensions()
