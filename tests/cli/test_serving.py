"""A served mesh, its real server and a real stream: render says the same, the commands see it, and SIGTERM ends it."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import grpc
import pytest
import yaml
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.ads_pb2_grpc import AggregatedDiscoveryServiceStub
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest
from google.protobuf import json_format

from steersman import names
from steersman.admin.protojson import as_dict, message_of
from tests.cli.conftest import OBJECTS, Ran, inline
from tests.support.live import SERVER, free_ports

NODE = {"id": "sidecar~10.0.0.7~web-1.demo~cluster.local", "metadata": {"CLUSTER_ID": "east"}, "user_agent_name": "test"}


class Config(NamedTuple):
    file: Path
    xds: str
    admin: str
    inspect: str


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "east").mkdir()
    (tmp_path / "east" / "objects.yaml").write_text(OBJECTS)
    xds, admin, inspect = (f"{SERVER}:{port}" for port in free_ports(SERVER, 3))
    file = tmp_path / "steersman.yaml"
    file.write_text(
        f"clusters: [{{name: east, files: east}}]\n"
        f"server: {{xds: {{address: '{xds}'}}, admin: {{address: '{admin}'}}, inspect: {{address: '{inspect}'}}}}\n"
    )
    return Config(file, xds, admin, inspect)


@pytest.fixture
async def served(config: Config) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await serve(config)
    await ready(process, config.admin)
    yield process
    if process.returncode is None:
        process.kill()
        await process.wait()


async def serve(config: Config) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "steersman.cli", "serve", "-c", str(config.file), stderr=asyncio.subprocess.PIPE
    )


async def ready(process: asyncio.subprocess.Process, admin: str) -> None:
    async with aiohttp.ClientSession() as session:
        while process.returncode is None:
            try:
                async with session.get(f"http://{admin}/ready") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    raise AssertionError(f"serve ended: {process.returncode}")


class Client:
    """A stream that asks for one type after the other."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stream: Any = AggregatedDiscoveryServiceStub(channel).StreamAggregatedResources()
        self._node = json_format.ParseDict(NODE, Node())

    async def ask(self, type_url: str, wanted: Iterable[str] = ()) -> list[dict[str, Any]]:
        """Every resource of that type; ends when all that was named is there, or at once for all there are."""
        names_wanted = sorted(wanted)
        await self._stream.write(DiscoveryRequest(node=self._node, type_url=type_url, resource_names=names_wanted))
        found: dict[str, dict[str, Any]] = {}
        while not found or len(found) < len(names_wanted):
            response = await asyncio.wait_for(self._stream.read(), 20)
            await self._stream.write(
                DiscoveryRequest(
                    type_url=response.type_url,
                    resource_names=names_wanted,
                    version_info=response.version_info,
                    response_nonce=response.nonce,
                )
            )
            if response.type_url == type_url:
                shown = (as_dict(message_of(type_url, one.value)) for one in response.resources)
                found |= {one.get("name") or one["cluster_name"]: one for one in shown}
        return [found[name] for name in sorted(found)]

    async def everything(self) -> dict[str, list[dict[str, Any]]]:
        clusters = await self.ask(names.CDS)
        endpoints = await self.ask(names.EDS, (one["name"] for one in clusters if one.get("type") == "EDS"))
        listeners = await self.ask(names.LDS)
        routes = await self.ask(names.RDS, ("80",))
        secrets = await self.ask(names.SDS, (names.SECRET_LEAF, names.SECRET_ROOT))
        return {"clusters": clusters, "endpoints": endpoints, "listeners": listeners, "routes": routes, "secrets": secrets}


async def ask(config: Config, *args: str) -> Ran:
    return await inline(*args, "--server", config.inspect)


async def test_a_stream_is_sent_what_render_says_and_the_commands_see_it(
    served: asyncio.subprocess.Process, config: Config, tmp_path: Path
) -> None:
    node = tmp_path / "node.json"
    await asyncio.to_thread(node.write_text, json.dumps(NODE))
    assert (await ask(config, "proxies")).err == "No proxy is connected.\n"
    async with grpc.aio.insecure_channel(config.xds) as channel:
        sent = await Client(channel).everything()
        rendered = await inline("render", "-c", str(config.file), "--node", str(node))
        assert yaml.safe_load(rendered.out) == sent
        assert [len(sent[key]) > 0 for key in sent] == [True] * 5

        dump = json.loads((await ask(config, "proxy-config", "all", "web-1.demo", "-o", "json")).out)
        assert dump == sent
        table = (await ask(config, "proxies")).out.splitlines()
        assert [line.split()[:7] for line in table[1:]] == [["web-1.demo", "east", *["SYNCED"] * 5]]
        secrets = [line.split()[:4] for line in (await ask(config, "pc", "secret", "web-1")).out.splitlines()[1:]]
        assert secrets == [["ROOTCA", "CA", "ACTIVE", "true"], ["default", "Cert", "Chain", "ACTIVE"]]
        assert (await ask(config, "explain", "web-1", "web:http")).code == 0

    assert (await inline("doctor", "-c", str(config.file))).out == "No findings.\n"
    served.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(served.wait(), 10) == 0


async def test_an_address_that_is_taken_is_told_and_nothing_is_served(config: Config) -> None:
    host, _, port = config.xds.rpartition(":")
    with socket.create_server((host, int(port))):
        process = await serve(config)
        _, err = await process.communicate()
    assert process.returncode == 2
    assert config.xds.encode() in err
    assert b"address of this machine" in err
    assert b"Traceback" not in err
