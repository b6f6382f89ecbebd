"""Streams of clients that do as the test says, in the server's own event loop."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)

from steersman.ads.messages import Variant
from steersman.server.services import ADS, Service
from tests.support.static import StaticServer

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]


class Client:
    """A stream of a client that does as the test says."""

    def __init__(self, call: Any, variant: Variant, node: Node | None) -> None:
        self.call = call
        self.variant = variant
        self.node = node

    async def asks(self, type_url: str, *names: str, nonce: str = "", holding: Mapping[str, str] | None = None) -> None:
        """`holding`: with delta, the versions that it has (initial_resource_versions)."""
        if self.variant is Variant.DELTA:
            message = DeltaDiscoveryRequest(
                type_url=type_url, resource_names_subscribe=names, response_nonce=nonce, initial_resource_versions=holding or {}
            )
        else:
            message = DiscoveryRequest(type_url=type_url, resource_names=names, response_nonce=nonce)
        if self.node is not None:
            message.node.CopyFrom(self.node)
            self.node = None
        await self.call.write(message.SerializeToString())

    async def gets(self) -> Any:
        async with asyncio.timeout(10):
            raw = await self.call.read()
        if raw is grpc.aio.EOF:
            return None
        return (DeltaDiscoveryResponse if self.variant is Variant.DELTA else DiscoveryResponse).FromString(raw)

    async def acks(self, response: Any, *names: str) -> None:
        await self.asks(response.type_url, *(() if self.variant is Variant.DELTA else names), nonce=response.nonce)

    async def status(self) -> tuple[str, str]:
        async with asyncio.timeout(10):
            return (await self.call.code()).name, await self.call.details()


@asynccontextmanager
async def client(
    server: StaticServer, variant: Variant, *, service: Service = ADS, node: Node | None = None, options: Any = ()
) -> AsyncIterator[Client]:
    async with grpc.aio.insecure_channel(server.address, options=[*OPTIONS, *options]) as channel:
        call: Any = channel.stream_stream(f"/{service.name}/{service.streamed(variant)}")()
        yield Client(call, variant, node or Node(id="n"))
        call.cancel()


def names_of(response: Any) -> list[str]:
    """Of a response with resources as resource() makes them."""
    bodies = [found.resource.value if hasattr(found, "resource") else found.value for found in response.resources]
    return [body.split(b"=")[0].decode() for body in bodies]
