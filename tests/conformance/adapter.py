"""Our xDS server behind the API of the public conformance harness: what there is, is set by hand, with versions that are given.

As a process, for that harness or another: python -m tests.conformance.adapter --adapter 127.0.0.1:17000 --xds 127.0.0.1:18000
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import grpc

from steersman.model.proxy import Proxy
from steersman.names import EDS
from steersman.resources.resource import Resource
from steersman.server.connection import Connection
from tests.support.served import MESSAGES
from tests.support.static import Place, Serving, static_server
from tests.support.xds import Mesh

messages: Any
services: Any
messages, services = grpc.protos_and_services("tests/conformance/adapter.proto")


class Refusal(Exception):
    """What was asked for can't be done."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class Standing(Place):
    """A stream's place, which tells what the stream subscribes to as soon as that is so."""

    def hold(self, type_url: str, names: frozenset[str] | None, named: frozenset[str]) -> None:
        super().hold(type_url, names, named)
        assert isinstance(self.serving, States)
        self.serving.heard()


class States(Serving):
    """A mesh for each node. A node of which nothing was said yet waits for it."""

    place = Standing

    def __init__(self) -> None:
        super().__init__(Mesh())
        self._of_node: dict[str, Mesh] = {}
        self._waiting: list[asyncio.Future[None]] = []

    def mesh_of(self, proxy: Proxy) -> Mesh:
        return self.of_node(proxy.id)

    def of_node(self, node: str) -> Mesh:
        return self._of_node.setdefault(node, Mesh(ready=False))

    def known(self, node: str) -> Mesh:
        """Raises Refusal where nothing was set for it."""
        mesh = self._of_node.get(node)
        if mesh is None or not all(table.ready for table in mesh.tables.values()):
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"no state was set for node {node!r}; SetState comes first")
        return mesh

    def heard(self) -> None:
        """A stream's subscription is another now."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    async def subscribed(self, type_url: str, names: frozenset[str] | None) -> None:
        """Returns once some stream's subscription to that type is this (None: to everything)."""
        while not any(type_url in place.holds and place.holds[type_url] == names for place in self.places):
            changed = asyncio.get_running_loop().create_future()
            self._waiting.append(changed)
            await changed


class Adapter:
    """Each call has taken effect, and every stream was told, when it is answered. Methods are named as the API has them."""

    def __init__(self, states: States) -> None:
        self._states = states

    async def SetState(self, request: Any, context: Any) -> Any:  # noqa: N802
        content: dict[str, list[Resource]] = {type_url: [] for type_url in MESSAGES}
        for given in request.resources:
            if given.type_url not in content:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{given.type_url!r} is no type of resource that is served here")
            message = MESSAGES[given.type_url].FromString(given.value)
            name = message.cluster_name if given.type_url == EDS else message.name
            content[given.type_url].append(Resource(name=name, version=request.version, parts=(given.value,)))
        mesh = self._states.of_node(request.node)
        mesh.tell({type_url: mesh.tables[type_url].replace(found, request.version) for type_url, found in content.items()})
        return messages.SetStateResponse(success=True)

    async def ClearState(self, request: Any, context: Any) -> Any:  # noqa: N802
        mesh = self._states.of_node(request.node)
        for type_url, table in Mesh(ready=False).tables.items():
            mesh.tables[type_url] = table
            for connection in mesh.streams:
                assert isinstance(connection, Connection)
                connection.retabled(type_url, table)
                connection.wake()
        return messages.clearStateResponse(response=f"nothing is known of {request.node} any more")

    async def UpdateResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._change(request, context, known=True, kept=True)
        return messages.UpdateResourceResponse(success=True)

    async def AddResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._change(request, context, known=False, kept=True)
        return messages.AddResourceResponse(success=True)

    async def RemoveResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._change(request, context, known=True, kept=False)
        return messages.RemoveResourceResponse(success=True)

    async def _change(self, request: Any, context: Any, *, known: bool, kept: bool) -> None:
        """`known`: there is to be such a resource before; `kept`: after."""
        try:
            self._changed(request, known=known, kept=kept)
        except Refusal as refusal:
            await context.abort(refusal.code, str(refusal))

    def _changed(self, request: Any, *, known: bool, kept: bool) -> None:
        mesh = self._states.known(request.node)
        type_url, name = request.typeUrl, request.resourceName
        table = mesh.tables.get(type_url)
        if table is None:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"{type_url!r} is no type of resource that is served here")
        content = {resource.name: resource for resource in table.content()}
        if known and name not in content:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"node {request.node!r} has no resource {name!r} of type {type_url}")
        if not known and name in content:
            raise Refusal(grpc.StatusCode.ALREADY_EXISTS, f"node {request.node!r} has a resource {name!r} of type {type_url} already")
        if kept:
            parts = content[name].parts if known else (_named(type_url, name),)
            content[name] = Resource(name=name, version=request.version, parts=parts)
        else:
            del content[name]
        mesh.tell({type_url: table.replace(content.values(), request.version)})


def _named(type_url: str, name: str) -> bytes:
    message = MESSAGES[type_url](**{"cluster_name" if type_url == EDS else "name": name})
    return bytes(message.SerializeToString(deterministic=True))


class Target(NamedTuple):
    """A running server under test. `adapter`, `xds`: where it is reached."""

    states: States
    adapter: str
    xds: str


@asynccontextmanager
async def target(adapter: str = "127.0.0.1:0", xds: str = "127.0.0.1:0") -> AsyncIterator[Target]:
    """Both in this loop; port 0: a free one."""
    states = States()
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    services.add_AdapterServicer_to_server(Adapter(states), server)
    adapter_host, _, adapter_port = adapter.rpartition(":")
    host, _, port = xds.rpartition(":")
    bound = server.add_insecure_port(f"{adapter_host}:{adapter_port}")
    await server.start()
    try:
        async with static_server(states, host=host, port=int(port)) as served:
            yield Target(states, f"{adapter_host}:{bound}", served.address)
    finally:
        await server.stop(None)


async def _serve(adapter: str, xds: str) -> None:
    async with target(adapter, xds) as running:
        print(f"adapter at {running.adapter}, xDS at {running.xds}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance.adapter", description="Steersman's xDS server under a conformance harness"
    )
    parser.add_argument("--adapter", metavar="HOST:PORT", default="127.0.0.1:17000", help="where the harness sets what there is")
    parser.add_argument("--xds", metavar="HOST:PORT", default="127.0.0.1:18000", help="where it asks for that")
    given = parser.parse_args()
    asyncio.run(_serve(given.adapter, given.xds))
