"""The Inspect service over gRPC, and beside it that by which other tools ask."""

from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc
import grpc.aio

from steersman.admin import answers
from steersman.admin import inspect_pb2 as pb
from steersman.admin import inspect_pb2_grpc as stubs
from steersman.admin.clusters import clusters
from steersman.admin.csds import ClientStatus
from steersman.admin.releases import Denied, released
from steersman.admin.selection import NotFound, Unclear
from steersman.admin.state import ServerState
from steersman.errors import ConfigError
from steersman.graph import ComputeFailed

T = TypeVar("T")


class Inspect(stubs.InspectServicer):
    """steersman.inspect.v1.Inspect of one server."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    async def GetServer(self, request: pb.GetServerRequest, context: Any) -> pb.Server:  # noqa: N802
        return answers.server(self._state)

    async def ListProxies(self, request: pb.ListProxiesRequest, context: Any) -> pb.ListProxiesResponse:  # noqa: N802
        return await _answered(answers.proxies(self._state, request.proxy), context)

    async def GetProxyConfig(self, request: pb.GetProxyConfigRequest, context: Any) -> pb.GetProxyConfigResponse:  # noqa: N802
        return await _answered(answers.proxy_config(self._state, request.proxy, request.types), context)

    async def Explain(self, request: pb.ExplainRequest, context: Any) -> pb.Explanation:  # noqa: N802
        return await _answered(answers.explanation(self._state, request.proxy, request.service), context)

    async def ListFindings(self, request: pb.ListFindingsRequest, context: Any) -> pb.ListFindingsResponse:  # noqa: N802
        return await _answered(answers.findings(self._state), context)

    async def ListClusters(self, request: pb.ListClustersRequest, context: Any) -> pb.ListClustersResponse:  # noqa: N802
        return clusters(self._state.sources())

    async def ReleaseRemovals(self, request: pb.ReleaseRemovalsRequest, context: Any) -> pb.ReleaseRemovalsResponse:  # noqa: N802
        return await _answered(released(self._state, request, context.peer()), context)


async def _answered(answer: Coroutine[Any, Any, T], context: Any) -> T:
    try:
        return await answer
    except NotFound as error:
        code, message = grpc.StatusCode.NOT_FOUND, str(error)
    except Unclear as error:
        code, message = grpc.StatusCode.INVALID_ARGUMENT, str(error)
    except Denied as error:
        code, message = grpc.StatusCode.PERMISSION_DENIED, str(error)
    except ComputeFailed as error:
        code, message = grpc.StatusCode.INTERNAL, f"a value could not be computed, which is a bug in Steersman: {error}"
    await context.abort(code, message)
    raise AssertionError("abort raises")


async def serve_inspect(state: ServerState, address: str) -> tuple[grpc.aio.Server, int]:
    """The service on this address (HOST:PORT; port 0: any free one), started, and the port it has. Ended by its `stop`.

    Raises ConfigError where the address can't be had.
    """
    # Without so_reuseport off, two servers would share the address, and each command would ask one of them by chance.
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    stubs.add_InspectServicer_to_server(Inspect(state), server)
    server.add_generic_rpc_handlers((ClientStatus(state).handler,))
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise ConfigError("server.inspect", "address", address, "an address of this machine that is free") from error
    await server.start()
    return server, port
