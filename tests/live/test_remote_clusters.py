"""A running server whose clusters come and go: as files in a directory, and as Secrets of a cluster. Proxies see one mesh all the while."""

import asyncio
import base64
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from steersman.names import CDS, EDS
from tests.cli.conftest import inline
from tests.live.mesh import EAST
from tests.live.test_kubernetes import WEB, addresses, web
from tests.support.apiserver.double import TOKEN, Double, kubeconfig
from tests.support.live import ControlPlane, eventually
from tests.support.objects import NAMESPACE, Object
from tests.support.running import free_port
from tests.support.streams import DeltaStream, node_of

ROOT = "istio-system"
SENTINEL = "s3cr3t-t0ken"


def started(stack: ExitStack, *pods: tuple[str, str]) -> Double:
    api = stack.enter_context(Double())
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
    api.apply(*web(*pods))
    return api


@pytest.fixture
def apis() -> Iterator[dict[str, Double]]:
    """East holds the Secrets. Nobody is told of the others yet."""
    with ExitStack() as stack:
        yield {
            "east": started(stack, ("web-1", "10.0.0.1")),
            "west": started(stack, ("web-2", "10.0.0.2")),
            "north": started(stack, ("web-3", "10.0.0.3")),
        }


@pytest.fixture
def plane(apis: dict[str, Double], tmp_path: Path) -> Iterator[ControlPlane]:
    (tmp_path / "east.kubeconfig").write_text(json.dumps(apis["east"].kubeconfig()))
    (tmp_path / "kubeconfigs").mkdir()
    plane = ControlPlane(
        tmp_path,
        {"east": {"kubernetes": {"kubeconfig": "east.kubeconfig"}}},
        remoteClusters={"kubeconfigs": "kubeconfigs", "secrets": "east", "syncTimeout": "2m"},
    )
    yield plane
    plane.stop()


def put(plane: ControlPlane, name: str, kubeconfig: Object | str) -> None:
    """A file in the directory of kubeconfigs, at once."""
    written = plane.directory / "new"
    written.write_text(kubeconfig if isinstance(kubeconfig, str) else json.dumps(kubeconfig))
    written.rename(plane.directory / "kubeconfigs" / name)


def secret(name: str, /, **kubeconfigs: Object | str) -> Object:
    data = {
        key: base64.b64encode((value if isinstance(value, str) else json.dumps(value)).encode()).decode()
        for key, value in kubeconfigs.items()
    }
    metadata = {"name": name, "namespace": ROOT, "labels": {"istio/multiCluster": "true"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}


def listed(plane: ControlPlane) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in plane.json("/debug/clusters")["clusters"]}


def follow(stream: DeltaStream, *expected: str, always: tuple[str, ...] = ()) -> None:
    """Waits for an assignment of web with these addresses; `always`: those that every one until then has to have."""
    found: list[str] = []
    while found != sorted(expected):
        response = stream.response()
        stream.acknowledge(response)
        for one in response.resources:
            if one.name == WEB:
                found = addresses(one)
                assert set(always) <= set(found)


def issued(api: Double, user: str) -> str:
    """A new token, of a user that requests can be told by."""
    token = api.issue()
    api.do(lambda: api.access.tokens.__setitem__(token, user))
    return token


def rotated(api: Double, user: str) -> bool:
    """Whether every watch has been resumed under this user's token."""
    watched = {one.resource for one in api.requests(verb="watch")}
    return {one.resource for one in api.requests(verb="watch") if one.user == user} == watched


def test_a_cluster_comes_is_rotated_and_goes_with_its_file_in_the_directory(plane: ControlPlane, apis: dict[str, Double]) -> None:
    west, north = apis["west"], apis["north"]
    put(plane, "west.yaml", west.kubeconfig())
    plane.start().ready(60)
    assert listed(plane)["west"]["state"] == "SYNCED", "what is there at the start is waited for"
    assert listed(plane)["west"]["registered_by"] == str(plane.directory / "kubeconfigs" / "west.yaml")
    with DeltaStream(plane.xds, node_of(EAST.client)) as stream:
        assert WEB in stream.take(CDS)
        assert addresses(stream.take(EDS, WEB)[WEB]) == ["10.0.0.1", "10.0.0.2"]

        put(plane, "north", north.kubeconfig())
        follow(stream, "10.0.0.1", "10.0.0.2", "10.0.0.3", always=("10.0.0.1", "10.0.0.2"))

        # The token is rotated: first a new one is good, then the old one is no longer.
        token = issued(west, "second")
        put(plane, "west.yaml", west.kubeconfig(token))
        eventually(lambda: rotated(west, "second"))
        west.do(lambda: west.access.tokens.pop(TOKEN))
        west.apply(*web(("web-2", "10.0.0.2"), ("web-4", "10.0.0.4")))
        follow(stream, "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", always=("10.0.0.1", "10.0.0.2", "10.0.0.3"))

        # A rotation that is broken costs nothing, and is told of until it is mended.
        put(plane, "west.yaml", west.kubeconfig("no-such-token"))
        eventually(lambda: plane.findings().get("cluster-credentials-unused"))
        west.apply(*web(("web-4", "10.0.0.4")))
        west.delete("Pod", "web-2", NAMESPACE)
        follow(stream, "10.0.0.1", "10.0.0.3", "10.0.0.4", always=("10.0.0.1", "10.0.0.3", "10.0.0.4"))
        assert listed(plane)["west"]["state"] == "SYNCED"
        assert "401" in listed(plane)["west"]["credentials_unused"]
        put(plane, "west.yaml", west.kubeconfig(token))
        eventually(lambda: not plane.findings().get("cluster-credentials-unused"))

        # The same name is another cluster from now on: told by the uid of kube-system.
        put(plane, "west.yaml", north.kubeconfig())
        (plane.directory / "kubeconfigs" / "north").unlink()
        follow(stream, "10.0.0.1", "10.0.0.3", always=("10.0.0.1",))

        (plane.directory / "kubeconfigs" / "west.yaml").unlink()
        follow(stream, "10.0.0.1", always=("10.0.0.1",))
    assert set(listed(plane)) == {"east"}
    assert "west" not in "".join([*plane.metrics("steersman_cluster_state"), *plane.metrics("steersman_source_objects")])
    assert "west" not in json.dumps(plane.findings())


async def test_clusters_of_secrets_come_and_go_and_who_has_a_name_keeps_it(plane: ControlPlane, apis: dict[str, Double]) -> None:
    east, west, north = apis["east"], apis["west"], apis["north"]
    east.apply(secret("remotes", west=west.kubeconfig(), east=east.kubeconfig()))
    plane.start().ready(60)
    assert listed(plane)["west"]["state"] == "SYNCED", "what is there at the start is waited for"
    assert listed(plane)["west"]["registered_by"] == f"Secret east/{ROOT}/remotes, key west"
    assert [one["place"] for one in plane.findings()["remote-cluster-own"]] == [f"Secret east/{ROOT}/remotes, key east"]
    with DeltaStream(plane.xds, node_of(EAST.client)) as stream:
        assert WEB in stream.take(CDS)
        assert addresses(stream.take(EDS, WEB)[WEB]) == ["10.0.0.1", "10.0.0.2"]

        # Another Secret wants the name: it is ignored, and told of. It has its turn when the first one lets go.
        east.apply(secret("second", west=north.kubeconfig()))
        eventually(lambda: "remote-cluster-claimed-twice" in plane.findings())
        (finding,) = plane.findings()["remote-cluster-claimed-twice"]
        assert finding["place"] == f"Secret east/{ROOT}/second, key west"
        assert f"Secret east/{ROOT}/remotes, key west" in finding["cause"]
        east.apply(secret("remotes", east=east.kubeconfig()))
        follow(stream, "10.0.0.1", "10.0.0.3", always=("10.0.0.1",))
        assert listed(plane)["west"]["registered_by"] == f"Secret east/{ROOT}/second, key west"
        assert not plane.findings().get("remote-cluster-claimed-twice")

        # A Secret that is broken costs itself; of one that was good the last good credentials stay in use.
        east.apply(secret("broken", other="}{", south=SENTINEL))
        east.apply(
            secret("second", west=json.dumps({**north.kubeconfig(), "users": [{"name": "double", "user": {"tokenFile": "/etc/passwd"}}]}))
        )
        eventually(lambda: len(plane.findings().get("remote-kubeconfig-refused", ())) == 3)
        found = plane.findings()["remote-kubeconfig-refused"]
        assert {one["object"] for one in found} == {"Cluster other", "Cluster south", "Cluster west"}
        (refused,) = [one for one in found if one["object"] == "Cluster west"]
        assert "tokenFile, the file /etc/passwd (allow.files)" in refused["cause"]
        assert "the credentials of before are used" in refused["cause"]
        assert "remoteClusters.allow" in refused["remedy"]
        north.apply(*web(("web-3", "10.0.0.3"), ("web-5", "10.0.0.5")))
        follow(stream, "10.0.0.1", "10.0.0.3", "10.0.0.5", always=("10.0.0.1", "10.0.0.3"))

        # Which clusters there are, and where they come from.
        ran = await inline("clusters", "--server", plane.inspect)
        assert f"Secret east/{ROOT}/second, key west" in ran.out
        assert ran.code == 0

        # Nothing of a Secret can be read anywhere.
        pages = ("/debug/clusters", "/debug/sources", "/debug/findings", "/debug/explain?proxy=client-east&service=web", "/metrics")
        shown = "".join(plane.get(page)[1] for page in pages) + plane.said() + ran.out
        assert SENTINEL not in shown
        assert north.token not in shown

        east.delete("Secret", "second", ROOT)
        follow(stream, "10.0.0.1", always=("10.0.0.1",))
    assert set(listed(plane)) == {"east"}
    assert {request.query.get("labelSelector") for request in east.requests(resource="secrets")} == {"istio/multiCluster=true"}


def test_a_dead_cluster_of_a_secret_holds_up_nobody(plane: ControlPlane, apis: dict[str, Double]) -> None:
    dead = kubeconfig(f"https://{apis['east'].address}:{free_port(apis['east'].address)}", apis["east"].ca.data, "token", "dead")
    apis["east"].apply(secret("remotes", west=dead))
    began = time.monotonic()
    plane.start().ready(60)
    assert time.monotonic() - began < 60, "it is not waited for until its syncTimeout"
    assert [one["object"] for one in plane.findings()["cluster-unreachable"]] == ["Cluster west"]
    apis["east"].apply(secret("more", north=dead))
    eventually(lambda: "north" in listed(plane))
    assert plane.is_ready()
    apis["east"].apply(secret("more", north=apis["north"].kubeconfig()))
    with DeltaStream(plane.xds, node_of(EAST.client)) as stream:
        stream.take(CDS)
        if addresses(stream.take(EDS, WEB)[WEB]) != ["10.0.0.1", "10.0.0.3"]:
            follow(stream, "10.0.0.1", "10.0.0.3")


def test_clusters_of_secrets_that_cannot_be_read_at_a_restart_are_what_they_were_until_they_can(
    plane: ControlPlane, apis: dict[str, Double]
) -> None:
    east, west, north = apis["east"], apis["west"], apis["north"]
    east.apply(secret("west", west=west.kubeconfig()), secret("north", north=north.kubeconfig()))
    plane.start().ready(60)
    eventually(
        lambda: {name: one["state"] for name, one in listed(plane).items()} == dict.fromkeys(("east", "west", "north"), "SYNCED"), 60
    )
    plane.signal(signal.SIGTERM)
    assert plane.ended() == 0
    east.stop()
    east.delete("Secret", "north", ROOT)
    plane.start().ready(60)
    assert sum("warm" in one for one in listed(plane).values()) == 3, "they are waited for, and served as they were"
    outage = {"east": "UNREACHABLE", "west": "UNAUTHORISED", "north": "UNAUTHORISED"}
    eventually(lambda: {name: one["state"] for name, one in listed(plane).items()} == outage)
    assert "its kubeconfig is in Secret east/istio-system/west, key west, which can't be read now" in listed(plane)["west"]["problem"]
    with DeltaStream(plane.xds, node_of(EAST.client)) as stream:
        stream.take(CDS)
        assert addresses(stream.take(EDS, WEB)[WEB]) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
        west.apply(*web(("web-2", "10.0.0.22")))
        east.start()
        follow(stream, "10.0.0.1", "10.0.0.22")
    eventually(lambda: {name: one["state"] for name, one in listed(plane).items()} == {"east": "SYNCED", "west": "SYNCED"}, 60)
    files = sorted(one.name for one in (plane.directory / ".steersman" / "warm").glob("*.warm"))
    assert files == ["east.warm", "west.warm"]


async def test_commands_without_a_server_know_clusters_of_secrets_that_cannot_be_read(
    plane: ControlPlane, apis: dict[str, Double], tmp_path: Path
) -> None:
    apis["east"].apply(secret("west", west=apis["west"].kubeconfig()))
    plane.start().ready(60)
    eventually(lambda: listed(plane).get("west", {}).get("state") == "SYNCED", 60)
    plane.signal(signal.SIGTERM)
    assert plane.ended() == 0
    apis["east"].stop()
    node = tmp_path / "node.json"
    node.write_text(json.dumps(node_of(EAST.client)))
    ran = await inline("render", "-c", str(plane.config), "--node", str(node), "--type", "eds")
    assert ran.err.count("did not tell all, so some is from its warm file") == 2
    assert "10.0.0.1" in ran.out
    assert "10.0.0.2" in ran.out


async def test_commands_without_a_server_read_the_directory_and_the_secrets_as_a_server_does(
    plane: ControlPlane, apis: dict[str, Double], tmp_path: Path
) -> None:
    put(plane, "north.yaml", apis["north"].kubeconfig())
    put(plane, ".hidden", "x")
    put(plane, "old.yaml~", "x")
    hostile = {**apis["west"].kubeconfig(), "users": [{"name": "double", "user": {"exec": {"command": f"touch {tmp_path / 'ran'}"}}}]}
    apis["east"].apply(secret("remotes", west=apis["west"].kubeconfig(), north=apis["west"].kubeconfig()), secret("evil", south=hostile))
    ran = await asyncio.to_thread(_command, "doctor", "-c", str(plane.config), "-o", "json")
    found = {(one["id"], one["object"], one["place"].removeprefix(f"{tmp_path}/")) for one in json.loads(ran.stdout)}
    assert {one for one in found if one[0].startswith(("remote-", "cluster-", "source-"))} == {
        ("remote-cluster-claimed-twice", "Cluster north", f"Secret east/{ROOT}/remotes, key north"),
        ("remote-kubeconfig-refused", "Cluster south", f"Secret east/{ROOT}/evil, key south"),
    }
    assert ran.returncode == 1
    node = tmp_path / "node.json"
    node.write_text(json.dumps(node_of(EAST.client)))
    rendered = await asyncio.to_thread(_command, "render", "-c", str(plane.config), "--node", str(node), "--type", "eds", "-o", "json")
    (assignment,) = json.loads(rendered.stdout)["endpoints"]
    hosts = [one["endpoint"]["address"]["socket_address"]["address"] for one in assignment["endpoints"][0]["lb_endpoints"]]
    assert hosts == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert apis["west"].token not in ran.stdout + rendered.stdout
    assert not (tmp_path / "ran").exists()


def _command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "steersman.cli", *arguments], capture_output=True, text=True, check=False, timeout=60)
