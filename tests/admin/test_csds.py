"""The Client Status Discovery Service over gRPC, of streams that stand at tables."""

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest
from envoy.admin.v3.config_dump_shared_pb2 import ClientResourceStatus
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.status.v3.csds_pb2 import ClientStatusRequest, ConfigStatus
from envoy.service.status.v3.csds_pb2_grpc import ClientStatusDiscoveryServiceStub
from envoy.type.matcher.v3.node_pb2 import NodeMatcher
from google.protobuf import json_format

from steersman.admin.state import ConnectionStatus
from steersman.ads.messages import Variant
from steersman.ads.told import TypeResources
from steersman.model.ids import Locality
from steersman.model.proxy import Proxy
from steersman.names import CDS, EDS, SDS
from steersman.resources.resource import of_message
from tests.support.state import FakeState, connection, sidecar
from tests.support.xds import BAD, DeltaClient, Mesh, SotwClient

EAST = sidecar("client", locality=Locality("r", "z"), labels=(("app", "client"),))
WEST = sidecar("client", cluster="west")


class Opened:
    """A stream of that proxy, as the server lists it."""

    def __init__(self, proxy: Proxy, client: SotwClient | DeltaClient, number: int = 1) -> None:
        self._proxy = proxy
        self._client = client
        self._number = number

    def status(self) -> ConnectionStatus:
        return connection(self._proxy, number=self._number)

    def resources(self) -> Sequence[TypeResources]:
        return self._client.stream.resources()


@pytest.fixture
async def service(inspect_port: int) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{inspect_port}") as channel:
        yield ClientStatusDiscoveryServiceStub(channel)


def matching(**node_id: Any) -> ClientStatusRequest:
    return ClientStatusRequest(node_matchers=[json_format.ParseDict({"node_id": node_id}, NodeMatcher())])


def told(config: Any) -> list[tuple[str, str, str, str]]:
    return [
        (
            one.type_url.rpartition(".")[2],
            one.name,
            ConfigStatus.Name(one.config_status),
            ClientResourceStatus.Name(one.client_status),
        )
        for one in config.generic_xds_configs
    ]


async def test_every_resource_of_a_proxy_with_how_far_it_is(service: Any, state: FakeState) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a", "b")
    mesh.only(EDS, "a")
    client = mesh.delta()
    client.now = 0.0
    client.asks(CDS)
    client.acks(CDS, error=BAD)
    client.asks(EDS, "a", "gone")
    client.acks(EDS)
    mesh.put(EDS, "a=2")
    state.opened = [Opened(EAST, client)]
    [config] = (await service.FetchClientStatus(ClientStatusRequest())).config
    assert config.node.id == EAST.id.removeprefix("east/")
    assert (config.node.locality.region, config.node.locality.zone) == ("r", "z")
    assert json_format.MessageToDict(config.node.metadata) == {
        "CLUSTER_ID": "east",
        "NAMESPACE": "default",
        "LABELS": {"app": "client"},
    }
    assert told(config) == [
        ("Cluster", "a", "ERROR", "NACKED"),
        ("Cluster", "b", "ERROR", "NACKED"),
        ("ClusterLoadAssignment", "a", "STALE", "REQUESTED"),
        ("ClusterLoadAssignment", "gone", "NOT_SENT", "DOES_NOT_EXIST"),
    ]
    refused, _, stale, missing = config.generic_xds_configs
    assert refused.error_state.details == BAD.text
    assert refused.error_state.version_info == refused.version_info == mesh.tables[CDS].content()[0].version
    assert refused.error_state.failed_configuration == refused.xds_config
    assert (stale.version_info, stale.xds_config.value.rstrip(b"\0")) == (mesh.tables[EDS].content()[0].version, b"a=2")
    assert not missing.HasField("xds_config")
    assert not missing.HasField("last_updated")


async def test_times_are_those_of_the_wall_clock(service: Any, state: FakeState) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    client = mesh.delta()
    client.now = time.monotonic() - 60  # the event loop's clock
    client.asks(CDS)
    client.acks(CDS)
    state.opened = [Opened(EAST, client)]
    [config] = (await service.FetchClientStatus(ClientStatusRequest())).config
    assert config.generic_xds_configs[0].last_updated.seconds == pytest.approx(time.time() - 60, abs=5)


async def test_contents_can_be_left_out(service: Any, state: FakeState) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    client = mesh.delta()
    client.asks(CDS)
    client.acks(CDS, error=BAD)
    state.opened = [Opened(EAST, client)]
    [config] = (await service.FetchClientStatus(ClientStatusRequest(exclude_resource_contents=True))).config
    [one] = config.generic_xds_configs
    assert one.version_info
    assert not one.HasField("xds_config")
    assert not one.error_state.HasField("failed_configuration")


async def test_private_keys_never_pass(service: Any, state: FakeState) -> None:
    mesh = Mesh()
    secret = Secret(name="default", tls_certificate={"private_key": {"inline_bytes": b"PRIVATE"}})
    mesh.tell({SDS: mesh.tables[SDS].replace([of_message("default", secret)])})
    client = mesh.delta()
    client.asks(SDS, "default")
    client.acks(SDS, error=BAD)
    state.opened = [Opened(EAST, client)]
    answer = await service.FetchClientStatus(ClientStatusRequest())
    assert b"PRIVATE" not in answer.SerializeToString()
    assert b"[redacted]" in answer.config[0].generic_xds_configs[0].xds_config.value


async def test_streams_of_one_proxy_are_one_client_and_the_youngest_knows_best(service: Any, state: FakeState) -> None:
    mesh = Mesh()
    mesh.only(CDS, "a")
    mesh.only(EDS, "a", "b")
    clusters, old, new = mesh.client(Variant.SOTW, only=CDS), mesh.delta(only=EDS), mesh.delta(only=EDS)
    clusters.asks("")
    clusters.acks(CDS)
    old.asks("", "a", "b")
    new.asks("", "a")
    new.acks(EDS)
    state.opened = [Opened(EAST, clusters), Opened(EAST, new, 3), Opened(EAST, old, 2), Opened(WEST, clusters)]
    east, west = (await service.FetchClientStatus(ClientStatusRequest())).config
    assert told(east) == [
        ("Cluster", "a", "SYNCED", "ACKED"),
        ("ClusterLoadAssignment", "a", "SYNCED", "ACKED"),
        ("ClusterLoadAssignment", "b", "STALE", "REQUESTED"),
    ]
    assert told(west) == [("Cluster", "a", "SYNCED", "ACKED")]


@pytest.mark.parametrize(
    ("request_", "clusters"),
    [
        (ClientStatusRequest(), ["east", "west"]),
        (ClientStatusRequest(node_matchers=[NodeMatcher()]), ["east", "west"]),
        (matching(exact=EAST.id), ["east"]),
        (matching(exact=EAST.id.removeprefix("east/")), ["east", "west"]),
        (matching(prefix="sidecar~10."), ["east", "west"]),
        (matching(prefix="west/"), ["west"]),
        (matching(suffix="cluster.LOCAL", ignore_case=True), ["east", "west"]),
        (matching(suffix="cluster.LOCAL"), []),
        (matching(contains="~client.default~"), ["east", "west"]),
        (matching(exact="nobody"), []),
    ],
)
async def test_nodes_are_chosen_by_their_ids(request_: Any, clusters: list[str], service: Any, state: FakeState) -> None:
    state.opened = [Opened(EAST, Mesh().delta()), Opened(WEST, Mesh().delta())]
    found = (await service.FetchClientStatus(request_)).config
    assert [config.node.metadata["CLUSTER_ID"] for config in found] == clusters


@pytest.mark.parametrize(
    ("matcher", "words"),
    [
        ({"node_id": {"safe_regex": {"regex": ".*"}}}, "node_matchers[1].node_id.safe_regex is not supported; use one of exact, prefix"),
        ({"node_id": {}}, "node_matchers[1].node_id.match_pattern is not supported"),
        (
            {"node_metadatas": [{"path": [{"key": "a"}], "value": {"present_match": True}}]},
            "node_matchers[1].node_metadatas is not supported; match by node_id",
        ),
    ],
)
async def test_matchers_that_are_not_supported_are_refused_in_words(matcher: Any, words: str, service: Any) -> None:
    request = ClientStatusRequest(node_matchers=[NodeMatcher(), json_format.ParseDict(matcher, NodeMatcher())])
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await service.FetchClientStatus(request)
    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert words in (failed.value.details() or "")


async def test_a_stream_answers_each_request_with_what_is_so_then(service: Any, state: FakeState) -> None:
    call = service.StreamClientStatus()
    await call.write(ClientStatusRequest())
    assert list((await call.read()).config) == []
    state.opened = [Opened(EAST, Mesh().delta())]
    await call.write(ClientStatusRequest())
    assert len((await call.read()).config) == 1
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
