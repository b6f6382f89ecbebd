"""Runs a scenario against a server with an adapter: a client that acknowledges all it is sent, and wants nothing beyond what it expects.

Nothing is waited for by time. That a subscription was taken in is told by the server; that nothing more comes, by the stream's own end: the
client says that it has said all, and the server ends the stream when it has answered all of it.
"""

from collections.abc import AsyncIterator
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
from google.protobuf import any_pb2

from steersman.ads.messages import Variant
from steersman.names import CDS, EDS, LDS, RDS
from tests.conformance.adapter import Target, messages, services
from tests.conformance.scenarios import Row, Scenario
from tests.support.served import MESSAGES

NODE = "harness"
TYPES = {"CDS": CDS, "EDS": EDS, "LDS": LDS, "RDS": RDS}
AGGREGATED = {
    Variant.SOTW: "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
    Variant.DELTA: "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
}
PER_TYPE = {
    (Variant.SOTW, CDS): "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters",
    (Variant.SOTW, EDS): "/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints",
    (Variant.SOTW, LDS): "/envoy.service.listener.v3.ListenerDiscoveryService/StreamListeners",
    (Variant.SOTW, RDS): "/envoy.service.route.v3.RouteDiscoveryService/StreamRoutes",
    (Variant.DELTA, CDS): "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters",
    (Variant.DELTA, EDS): "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints",
    (Variant.DELTA, LDS): "/envoy.service.listener.v3.ListenerDiscoveryService/DeltaListeners",
    (Variant.DELTA, RDS): "/envoy.service.route.v3.RouteDiscoveryService/DeltaRoutes",
}
OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))


class Stream:
    """One stream, which keeps in mind what it subscribes to and what it was sent last."""

    def __init__(self, call: Any, variant: Variant) -> None:
        self._call = call
        self._variant = variant
        self._node: Node | None = Node(id=NODE)
        self._last: dict[str, Any] = {}
        self.names: dict[str, tuple[str, ...]] = {}
        """By type; a type that was asked for without names has none."""

    async def ask(self, type_url: str, names: tuple[str, ...]) -> None:
        if self._variant is Variant.DELTA:
            self.names[type_url] = (*self.names.get(type_url, ()), *names)
            await self._say(DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names))
        else:
            await self.narrow(type_url, names)

    async def narrow(self, type_url: str, names: tuple[str, ...]) -> None:
        """State of the world: this is the subscription."""
        self.names[type_url] = names
        await self._say(DiscoveryRequest(type_url=type_url, resource_names=names, **self._answered(type_url)))

    async def drop(self, type_url: str, names: tuple[str, ...]) -> None:
        self.names[type_url] = tuple(name for name in self.names[type_url] if name not in names)
        await self._say(DeltaDiscoveryRequest(type_url=type_url, resource_names_unsubscribe=names))

    async def get(self) -> Any:
        """The next response, acknowledged; None where the server ends the stream instead."""
        raw = await self._call.read()
        if raw is grpc.aio.EOF:
            return None
        response = (DeltaDiscoveryResponse if self._variant is Variant.DELTA else DiscoveryResponse).FromString(raw)
        self._last[response.type_url] = response
        if self._variant is Variant.DELTA:
            await self._say(DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce))
        else:
            await self.narrow(response.type_url, self.names[response.type_url])
        return response

    async def rest(self) -> list[Any]:
        """All that the server still says to a client that has nothing more to say."""
        await self._call.done_writing()
        found = []
        while (raw := await self._call.read()) is not grpc.aio.EOF:
            found.append((DeltaDiscoveryResponse if self._variant is Variant.DELTA else DiscoveryResponse).FromString(raw))
        assert await self._call.code() is grpc.StatusCode.OK, await self._call.details()
        return found

    def _answered(self, type_url: str) -> dict[str, str]:
        last = self._last.get(type_url)
        return {} if last is None else {"version_info": last.version_info, "response_nonce": last.nonce}

    async def _say(self, request: Any) -> None:
        if self._node is not None:
            request.node.CopyFrom(self._node)
            self._node = None
        await self._call.write(request.SerializeToString())


class Run:
    """One scenario with the gaps filled, on one variant."""

    def __init__(self, target: Target, adapter: Any, stream: Stream, variant: Variant) -> None:
        self._target = target
        self._adapter = adapter
        self._stream = stream
        self._variant = variant
        self._version: dict[str, str] = {}

    async def given(self, names: str, types: list[str]) -> None:
        packed = []
        for short in types:
            for name in names.split():
                message = MESSAGES[TYPES[short]](**{"cluster_name" if short == "EDS" else "name": name})
                packed.append(any_pb2.Any(type_url=TYPES[short], value=message.SerializeToString()))
            self._version[TYPES[short]] = "1"
        await self._adapter.SetState(messages.SetStateRequest(node=NODE, version="1", resources=packed))

    async def step(self, text: str) -> None:
        kind, short, *words = text.split()
        type_url = TYPES[short]
        match kind:
            case "ask":
                await self._stream.ask(type_url, () if words == ["*"] else tuple(words))
            case "narrow":
                await self._stream.narrow(type_url, tuple("" if word == "-" else word for word in words))
                await self._target.states.subscribed(type_url, frozenset(self._stream.names[type_url]))
            case "drop":
                await self._stream.drop(type_url, tuple(words))
                await self._target.states.subscribed(type_url, frozenset(self._stream.names[type_url]))
            case "get":
                self._check(text, type_url, expected(words), await self._stream.get())
            case "set" | "add" | "remove":
                name, version = words
                self._version[type_url] = version
                request = messages.ResourceRequest(node=NODE, typeUrl=type_url, resourceName=name, version=version)
                method = {"set": "UpdateResource", "add": "AddResource", "remove": "RemoveResource"}[kind]
                assert (await getattr(self._adapter, method)(request)).success
            case _:
                raise AssertionError(f"no step: {text}")

    async def end(self) -> None:
        rest = await self._stream.rest()
        assert rest == [], f"the server says more than necessary: {rest}"

    def _check(self, step: str, type_url: str, expected: dict[str, str], response: Any) -> None:
        assert response is not None, f"{step}: the server ended the stream"
        assert response.type_url == type_url, f"{step}: {response}"
        assert response.nonce
        found: dict[str, str]
        if self._variant is Variant.DELTA:
            found = {one.name: one.version for one in response.resources} | dict.fromkeys(response.removed_resources, "missing")
            count, version = len(response.resources) + len(response.removed_resources), response.system_version_info
        else:
            kept = [MESSAGES[type_url].FromString(one.value) for one in response.resources]
            found = {one.cluster_name if type_url == EDS else one.name: response.version_info for one in kept}
            count, version = len(response.resources), response.version_info
        assert version == self._version[type_url], f"{step}: version {version} of the whole"
        assert (found, count) == (expected, len(expected)), f"{step}: {found}"


def expected(words: list[str]) -> dict[str, str]:
    """The version of each name in "A B@1 !C": what stands before a version has that version too."""
    found: dict[str, str] = {}
    unsaid: list[str] = []
    for word in words:
        if word.startswith("!"):
            found[word[1:]] = "missing"
            continue
        name, _, version = word.partition("@")
        unsaid.append(name)
        if version:
            found |= dict.fromkeys(unsaid, version)
            unsaid = []
    assert not unsaid, f"no version of {unsaid}"
    return found


async def run(target: Target, scenario: Scenario, row: Row, variant: Variant, *, aggregated: bool) -> None:
    """Raises AssertionError where the server does not do as the scenario says."""
    async with connected(target, variant, None if aggregated else TYPES[row["xds"]]) as (adapter, stream):
        one = Run(target, adapter, stream, variant)
        await one.given(scenario.given.format(**row), [row[gap] for gap in ("xds", "other") if gap in row])
        for step in scenario.steps:
            await one.step(step.format(**row))
        await one.end()
        await adapter.ClearState(messages.clearStateRequest(node=NODE))


@asynccontextmanager
async def connected(target: Target, variant: Variant, type_url: str | None) -> AsyncIterator[tuple[Any, Stream]]:
    """The adapter, and a stream: of that type, or (None) an aggregated one."""
    async with (
        grpc.aio.insecure_channel(target.adapter, options=OPTIONS) as adapter,
        grpc.aio.insecure_channel(target.xds, options=OPTIONS) as xds,
    ):
        method = AGGREGATED[variant] if type_url is None else PER_TYPE[variant, type_url]
        call: Any = xds.stream_stream(method)()
        yield services.AdapterStub(adapter), Stream(call, variant)
        call.cancel()
