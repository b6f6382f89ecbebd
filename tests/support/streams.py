"""Raw ADS streams over a real socket, of clients that do as the test says."""

import queue
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import grpc
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.ads_pb2_grpc import AggregatedDiscoveryServiceStub
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest
from google.protobuf import json_format

from steersman.names import CDS, EDS, LDS, RDS, SDS, SECRET_LEAF, SECRET_ROOT
from tests.support.live import PATIENCE, Workload
from tests.support.served import MESSAGES

OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1))


class RawStream:
    """One stream, and the channel under it; nothing is acknowledged unless it is said."""

    method: str

    def __init__(self, address: str, node: Mapping[str, Any], options: Iterable[tuple[str, Any]] = ()) -> None:
        self._channel = grpc.insecure_channel(address, options=[*OPTIONS, *options])
        self._node: Node | None = json_format.ParseDict(dict(node), Node())
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._responses: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.call: Any = getattr(AggregatedDiscoveryServiceStub(self._channel), self.method)(iter(self._requests.get, None))
        self._reader: threading.Thread | None = None

    def ask(self, type_url: str, *names: str) -> None:
        raise NotImplementedError

    def acknowledge(self, response: Any) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._requests.put(None)
        self.call.cancel()
        if self._reader is not None:
            self._reader.join()
        self._channel.close()

    def send(self, request: Any) -> None:
        """The first one says who asks."""
        if self._node is not None:
            request.node.CopyFrom(self._node)
            self._node = None
        self._requests.put(request)

    def response(self, seconds: float = PATIENCE) -> Any:
        """The next one. Raises queue.Empty where none comes in time, grpc.RpcError where the stream ends."""
        if self._reader is None:
            self._reader = threading.Thread(target=self._read)
            self._reader.start()
        found = self._responses.get(timeout=seconds)
        if isinstance(found, Exception):
            raise found
        return found

    def _read(self) -> None:
        try:
            for response in self.call:
                self._responses.put(response)
            self._responses.put(EOFError("the server ended the stream without an error"))
        except grpc.RpcError as error:
            self._responses.put(error)

    def ended(self, seconds: float = PATIENCE) -> tuple[grpc.StatusCode, str]:
        """The status with which the server ends the stream, after whatever it still says."""
        try:
            while True:
                self.response(seconds)
        except grpc.RpcError:
            return self.call.code(), self.call.details()


class DeltaStream(RawStream):
    method = "DeltaAggregatedResources"

    def ask(self, type_url: str, *names: str, initial: Mapping[str, str] | None = None) -> None:
        """Without names: everything. `initial`: the versions it holds."""
        self.send(DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names, initial_resource_versions=initial or {}))

    def acknowledge(self, response: Any) -> None:
        self.send(DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce))

    def take(self, type_url: str, *names: str) -> dict[str, Any]:
        """Asks, and acknowledges until each name is answered (without names: one response): the resources by name."""
        self.ask(type_url, *names)
        found: dict[str, Any] = {}
        answered: set[str] = set()
        while not answered or not answered >= set(names):
            response = self.response()
            self.acknowledge(response)
            if response.type_url == type_url:
                found |= {resource.name: resource for resource in response.resources}
                answered |= found.keys() | set(response.removed_resources) | {""}
        return found

    def everything(self) -> dict[tuple[str, str], Any]:
        """All that this proxy may have, by (type, name), as an Envoy finds it: each thing by the name that leads to it."""
        clusters = self.take(CDS)
        by_endpoints = [name for name, one in clusters.items() if _is_eds(one)]
        found = {CDS: clusters, EDS: self.take(EDS, *by_endpoints) if by_endpoints else {}, LDS: self.take(LDS)}
        routes = sorted({name for one in found[LDS].values() for name in _route_names(one)})
        found[RDS] = self.take(RDS, *routes) if routes else {}
        found[SDS] = self.take(SDS, SECRET_LEAF, SECRET_ROOT)
        return {(type_url, name): one for type_url, ones in found.items() for name, one in ones.items()}


class SotwStream(RawStream):
    """It names of each type what it asked for last."""

    method = "StreamAggregatedResources"

    def __init__(self, address: str, node: Mapping[str, Any], options: Iterable[tuple[str, Any]] = ()) -> None:
        super().__init__(address, node, options)
        self._names: dict[str, tuple[str, ...]] = {}

    def ask(self, type_url: str, *names: str) -> None:
        self._names[type_url] = names
        self.send(DiscoveryRequest(type_url=type_url, resource_names=names))

    def acknowledge(self, response: Any) -> None:
        names = self._names[response.type_url]
        answered = {"version_info": response.version_info, "response_nonce": response.nonce}
        self.send(DiscoveryRequest(type_url=response.type_url, resource_names=names, **answered))


def node_of(workload: Workload) -> dict[str, Any]:
    """An envoy.config.core.v3.Node."""
    return {"id": workload.id, "metadata": workload.metadata, "user_agent_name": "test"}


def versions_of(resources: Mapping[tuple[str, str], Any]) -> dict[tuple[str, str], str]:
    return {key: resource.version for key, resource in resources.items()}


def _is_eds(resource: Any) -> bool:
    cluster = MESSAGES[CDS].FromString(resource.resource.value)
    return bool(cluster.type == cluster.EDS)


def _route_names(resource: Any) -> Iterator[str]:
    from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpConnectionManager

    listener = MESSAGES[LDS].FromString(resource.resource.value)
    for chain in [*listener.filter_chains, listener.default_filter_chain]:
        for one in chain.filters:
            manager = HttpConnectionManager()
            if one.typed_config.Unpack(manager) and manager.HasField("rds"):
                yield manager.rds.route_config_name
