"""The Inspect service over a real socket: statuses that say whose mistake it was, answers of any size, never a key."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from steersman import __version__
from steersman.admin import inspect_pb2 as pb
from steersman.admin.inspect import serve_inspect
from steersman.admin.inspect_pb2_grpc import InspectStub
from steersman.admin.state import SourceState, SourceStatus
from steersman.errors import ConfigError
from steersman.model.facts import Leaf, Origin, Root, Upsert
from steersman.model.objects import Kind
from steersman.names import SDS
from steersman.registry.collections import LEAVES
from steersman.resources.collections import MANIFESTS, TABLES_OF
from tests.admin.conftest import CLIENT
from tests.support import mesh as m
from tests.support.state import FakeState


@pytest.fixture
async def inspect(inspect_port: int) -> AsyncIterator[Any]:
    options = (("grpc.max_receive_message_length", -1),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{inspect_port}", options=options) as channel:
        yield InspectStub(channel)


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code(), error.value.details() or ""


async def test_the_server_says_how_it_does(inspect: Any, state: FakeState) -> None:
    state.held.append(SourceStatus(name="ca", kind="ca", place="/ca", state=SourceState.SYNCING))
    state.unready = ["waits"]
    server = await inspect.GetServer(pb.GetServerRequest())
    assert (server.instance, server.version, server.ready, list(server.not_ready)) == ("pilot-0", __version__, False, ["waits"])
    assert server.generation == state.pipeline.generation
    assert [(source.name, source.state) for source in server.sources] == [("east", pb.Source.SYNCED), ("ca", pb.Source.SYNCING)]
    assert abs(server.started.ToSeconds() - state.started) < 1


async def test_whose_mistake_it_was_is_in_the_status(inspect: Any) -> None:
    code = grpc.StatusCode
    config, explain = inspect.GetProxyConfig, inspect.Explain
    assert (await refused(config(pb.GetProxyConfigRequest(proxy="nobody"))))[0] is code.NOT_FOUND
    assert (await refused(config(pb.GetProxyConfigRequest(proxy="client"))))[0] is code.INVALID_ARGUMENT
    assert (await refused(config(pb.GetProxyConfigRequest())))[0] is code.INVALID_ARGUMENT
    assert (await refused(config(pb.GetProxyConfigRequest(proxy=CLIENT.id, types=["xds"])))) == (
        code.INVALID_ARGUMENT,
        "no resource type is called 'xds'; expected one of cds, eds, lds, rds, sds or a type URL of theirs",
    )
    assert (await refused(explain(pb.ExplainRequest(proxy=CLIENT.id, service="nothing"))))[0] is code.NOT_FOUND
    assert (await refused(explain(pb.ExplainRequest(proxy=CLIENT.id, service=""))))[0] is code.INVALID_ARGUMENT


async def test_types_may_be_asked_for_by_either_name(inspect: Any) -> None:
    by_url = await inspect.GetProxyConfig(pb.GetProxyConfigRequest(proxy=CLIENT.id, types=[SDS]))
    by_name = await inspect.GetProxyConfig(pb.GetProxyConfigRequest(proxy=CLIENT.id, types=["SDS"]))
    assert by_url == by_name
    assert {resource.type for resource in by_url.resources} == {"sds"}


async def test_a_secret_that_is_not_signed_has_no_version_and_a_signed_one_no_key(inspect: Any, state: FakeState) -> None:
    request = pb.GetProxyConfigRequest(proxy=CLIENT.id, types=["sds"])
    assert [(one.name, one.version) for one in (await inspect.GetProxyConfig(request)).resources] == [
        ("ROOTCA", ""),
        ("default", ""),
    ]
    graph = state.pipeline.graph
    graph.demand(TABLES_OF, CLIENT.id)
    state.pipeline.settle()
    for parts in graph.value(TABLES_OF, CLIENT.id):
        for part in parts:
            if part.type_url == SDS:
                for _, ref in graph.ask(MANIFESTS, part):
                    graph.demand(ref.collection, ref.key)
    state.pipeline.settle()
    origin = Origin(source="ca")
    key = b"-----BEGIN PRIVATE KEY-----"
    assert graph.wanted(LEAVES)
    for wanted in graph.wanted(LEAVES):
        state.pipeline.apply([Upsert(kind=Kind.LEAF, key=wanted, value=Leaf(chain=b"chain", key=key), origin=origin)])
    state.pipeline.apply([Upsert(kind=Kind.ROOT, key="", value=Root(bundle=b"root"), origin=origin)])
    state.pipeline.settle()
    answer = await inspect.GetProxyConfig(request)
    assert [(one.name, bool(one.version)) for one in answer.resources] == [("ROOTCA", True), ("default", True)]
    assert b"chain" in answer.SerializeToString()
    assert b"[redacted]" in answer.SerializeToString()
    assert b"PRIVATE" not in answer.SerializeToString()


async def test_answers_may_be_larger_than_grpcs_usual_limit(inspect: Any, state: FakeState) -> None:
    names = "x" * 200
    rows = [m.service("east", f"s{number}-{names}", cluster_ips=(f"10.100.{number >> 8}.{number & 255}",)) for number in range(1500)]
    state.pipeline.apply([m.fact(row) for row in rows])
    state.pipeline.settle()
    answer = await inspect.GetProxyConfig(pb.GetProxyConfigRequest(proxy=CLIENT.id))
    assert answer.ByteSize() > 4 << 20


async def test_a_value_that_cannot_be_computed_is_an_internal_error_that_names_it(
    inspect: Any, state: FakeState, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(read: object, key: object) -> object:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("steersman.resources.clusters.fixed_cluster_of", broken)
    state.pipeline = m.Mesh(m.cluster("east"), CLIENT).pipeline
    code, details = await refused(inspect.GetProxyConfig(pb.GetProxyConfigRequest(proxy=CLIENT.id)))
    assert code is grpc.StatusCode.INTERNAL
    assert "fixed_clusters[BlackHoleCluster]: ZeroDivisionError: by zero" in details
    assert "a bug in Steersman" in details


async def test_a_taken_address_is_the_operators_error(inspect_port: int, state: FakeState) -> None:
    with pytest.raises(ConfigError, match=rf"server.inspect: address: got '127.0.0.1:{inspect_port}'"):
        await serve_inspect(state, f"127.0.0.1:{inspect_port}")
