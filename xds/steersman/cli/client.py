"""The client of a running server's Inspect service."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from steersman.admin import inspect_pb2 as pb
from steersman.admin.inspect_pb2_grpc import InspectStub
from steersman.cli.errors import WrongUse
from steersman.cli.parser import DEFAULT_SERVER
from steersman.errors import SteersmanError

TIMEOUT = 30.0
"""Seconds for an answer: a very large mesh takes some of them."""


class Unreachable(SteersmanError):
    """No Steersman answers at the address; the text says what to check."""


class Refused(SteersmanError):
    """The server answered that it has no such thing, or that it failed."""


def server_address(given: str | None) -> str:
    """--server, then $STEERSMAN_SERVER, then the default. Raises WrongUse for what is no HOST:PORT."""
    address = given or os.environ.get("STEERSMAN_SERVER") or DEFAULT_SERVER
    if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:/\[\]\s]+):[0-9]{1,5}", address):
        where = "--server" if given else "$STEERSMAN_SERVER"
        raise WrongUse(f"{where}: got {address!r}, expected HOST:PORT such as {DEFAULT_SERVER}")
    return address


class Client:
    """Questions to one server. Each raises Unreachable, Refused, or WrongUse where the question fits several things or nothing it could
    be."""

    def __init__(self, address: str, channel: grpc.Channel) -> None:
        self._address = address
        self._stub: Any = InspectStub(channel)

    def proxies(self, proxy: str = "") -> pb.ListProxiesResponse:
        answer: pb.ListProxiesResponse = self._call(self._stub.ListProxies, pb.ListProxiesRequest(proxy=proxy))
        return answer

    def proxy_config(self, proxy: str, types: tuple[str, ...]) -> pb.GetProxyConfigResponse:
        answer: pb.GetProxyConfigResponse = self._call(self._stub.GetProxyConfig, pb.GetProxyConfigRequest(proxy=proxy, types=types))
        return answer

    def explanation(self, proxy: str, service: str) -> pb.Explanation:
        answer: pb.Explanation = self._call(self._stub.Explain, pb.ExplainRequest(proxy=proxy, service=service))
        return answer

    def findings(self) -> pb.ListFindingsResponse:
        answer: pb.ListFindingsResponse = self._call(self._stub.ListFindings, pb.ListFindingsRequest())
        return answer

    def clusters(self) -> pb.ListClustersResponse:
        answer: pb.ListClustersResponse = self._call(self._stub.ListClusters, pb.ListClustersRequest())
        return answer

    def release(self, cluster: str, service: str) -> pb.ReleaseRemovalsResponse:
        request = pb.ReleaseRemovalsRequest(cluster=cluster, service=service)
        answer: pb.ReleaseRemovalsResponse = self._call(self._stub.ReleaseRemovals, request)
        return answer

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=TIMEOUT)
        except grpc.RpcError as error:
            raise self._meaning(error) from None

    def _meaning(self, error: Any) -> SteersmanError:
        code, details = error.code(), error.details()
        match code:
            case grpc.StatusCode.NOT_FOUND | grpc.StatusCode.PERMISSION_DENIED:
                return Refused(details)
            case grpc.StatusCode.INVALID_ARGUMENT:
                return WrongUse(details)
            case grpc.StatusCode.UNAVAILABLE:
                return Unreachable(
                    f"no Steersman answers at {self._address} ({details}).\n"
                    "Check that `steersman serve` runs, and that this is its server.inspect.address; "
                    "--server or $STEERSMAN_SERVER names another."
                )
            case grpc.StatusCode.UNIMPLEMENTED:
                return Unreachable(
                    f"what answers at {self._address} has no Inspect service: server.inspect.address is wanted, "
                    "not server.xds.address, of a server of this version."
                )
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return Unreachable(f"{self._address} gave no answer within {TIMEOUT:g} s.")
            case _:
                return Refused(f"{self._address} failed to answer: {code.name}: {details}")


@contextmanager
def connected(given: str | None) -> Iterator[Client]:
    """A client of the server that --server, the environment or the default names."""
    address = server_address(given)
    # A whole proxy's configuration is one message, without a limit here; and the control plane is never behind an HTTP proxy.
    options = (("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0))
    with grpc.insecure_channel(address, options=options) as channel:
        yield Client(address, channel)
