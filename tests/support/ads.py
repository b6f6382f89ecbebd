"""The smallest control plane: to each node the same resources, byte for byte as they were made, for as long as it lives."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import grpc
from envoy.service.discovery.v3.ads_pb2_grpc import AggregatedDiscoveryServiceServicer, add_AggregatedDiscoveryServiceServicer_to_server
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryResponse
from google.protobuf.any_pb2 import Any as Packed

from steersman.resources.resource import Resource

Tables = Mapping[str, Mapping[str, Resource]]
"""A node's resources by type URL and name."""


class FixedADS(AggregatedDiscoveryServiceServicer):  # type: ignore[misc]
    """Serves state-of-the-world ADS while entered: on loopback, or on the socket file unix:PATH. `rejected`: what clients said against
    responses."""

    def __init__(self, nodes: Mapping[str, Tables], address: str = "127.0.0.1:0") -> None:
        self.rejected: list[str] = []
        self._nodes = nodes
        self._server = grpc.server(ThreadPoolExecutor(max_workers=8))
        add_AggregatedDiscoveryServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port(address)
        self.address = address if address.startswith("unix:") else f"127.0.0.1:{port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._server.stop(None).wait()

    def StreamAggregatedResources(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:  # noqa: N802
        tables: Tables = {}
        asked: dict[str, tuple[str, ...]] = {}
        for number, request in enumerate(requests):
            if request.node.id:
                tables = self._nodes[request.node.id]
            if request.HasField("error_detail"):
                self.rejected.append(f"{request.node.id or 'a client'}: {request.error_detail.message}")
                continue
            names = tuple(sorted(request.resource_names))
            if request.response_nonce and asked.get(request.type_url) == names:
                continue
            asked[request.type_url] = names
            found = tables.get(request.type_url, {})
            sent = [found[name] for name in names or found if name in found]
            yield DiscoveryResponse(
                version_info="1",
                nonce=str(number + 1),
                type_url=request.type_url,
                resources=[Packed(type_url=request.type_url, value=resource.body) for resource in sent],
            )
