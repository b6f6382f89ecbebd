"""What the commands print of a running server is what real Envoys have, and their exit codes say whether that is good."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from typing import Any, NamedTuple

import pytest

from steersman.cli import main
from tests.live.mesh import CLUSTERS, EAST, HTTP, PASSTHROUGH_PORT, TARGETS, WEST, extra, fill, fqdn, outbound
from tests.support.live import SERVER, ControlPlane, clusters, config, endpoints, envoys, eventually, serving
from tests.support.running import Envoy, free_port, http_app

pytestmark = pytest.mark.envoy


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    def rows(self) -> list[list[str]]:
        """The cells of a table."""
        return [[cell.strip() for cell in line.split("   ") if cell.strip()] for line in self.out.splitlines()]


class World(NamedTuple):
    plane: ControlPlane
    envoys: dict[str, Envoy]

    def ask(self, *args: str) -> Ran:
        return run(*args, "--server", self.plane.inspect)

    def data(self, *args: str, code: int = 0) -> Any:
        ran = self.ask(*args, "-o", "json")
        assert (ran.code, ran.err) == (code, "")
        return json.loads(ran.out)


def run(*args: str) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(args)
        except SystemExit as wrong_use:
            code = int(wrong_use.code or 0)
    return Ran(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A sidecar in each cluster, that of east on delta, that of west on state of the world."""
    plane = ControlPlane(tmp_path_factory.mktemp("commands"), CLUSTERS)
    fill(plane)
    with serving(plane), envoys(plane, EAST.web, WEST.client) as running:
        world = World(plane, running)
        eventually(partial(is_synced, world))
        yield world


def is_synced(world: World) -> bool:
    rows = world.ask("proxies").rows()[1:]
    return len(rows) == 2 and all(row[2:7] == ["SYNCED"] * 5 for row in rows)


def test_proxies_lists_who_is_connected(world: World) -> None:
    ran = world.ask("ps")
    assert ran.code == 0
    assert [row[:2] + row[-1:] for row in ran.rows()] == [
        ["NAME", "CLUSTER", "VERSION"],
        [f"{EAST.web.name}.demo", "east", "envoy 1.40.0"],
        [f"{WEST.client.name}.demo", "west", "envoy 1.40.0"],
    ]
    assert [proxy["protocol"] for proxy in world.data("proxies")] == ["delta", "sotw"]
    assert world.ask("proxies", "nobody").code == 1


def test_the_server_is_found_by_the_environment_too(world: World) -> None:
    command = [sys.executable, "-m", "steersman.cli", "proxies", EAST.web.name]
    environment = {**os.environ, "STEERSMAN_SERVER": world.plane.inspect}
    assert subprocess.run(command, env=environment, capture_output=True, timeout=30, check=False).returncode == 0
    nowhere = f"{SERVER}:{free_port(SERVER)}"
    ran = run("proxies", "--server", nowhere)
    assert (ran.code, ran.out) == (1, "")
    assert nowhere in ran.err


@pytest.mark.parametrize("workload", [EAST.web, WEST.client], ids=["delta", "state of the world"])
def test_proxy_config_is_what_envoy_has(world: World, workload: Any) -> None:
    envoy = world.envoys[workload.name]
    listed = {kind: world.data("proxy-config", kind, workload.name) for kind in ("cluster", "listener", "route", "secret", "endpoint")}
    assert {one["name"] for one in listed["cluster"]} == clusters(envoy)
    assert {one["name"] for one in listed["listener"]} == {one["name"] for one in config(envoy, "dynamic_listeners")}
    assert {one["name"] for one in listed["route"]} == {one["route_config"]["name"] for one in config(envoy, "dynamic_route_configs")}
    assert {one["name"] for one in listed["secret"]} == {one["name"] for one in config(envoy, "dynamic_active_secrets")}
    for assignment in listed["endpoint"]:
        members = [
            member["endpoint"]["address"]["socket_address"] for group in assignment.get("endpoints", []) for member in group["lb_endpoints"]
        ]
        assert {f"{at['address']}:{at['port_value']}" for at in members} == set(endpoints(envoy, assignment["cluster_name"]))
    assert len(listed["endpoint"]) > 3


def test_versions_are_those_that_envoy_was_sent(world: World) -> None:
    """On delta an Envoy knows the version of each resource by itself."""
    envoy, told = world.envoys[EAST.web.name], world.plane.versions(EAST.web.name)
    held = {("cds", one["cluster"]["name"]): one["version_info"] for one in config(envoy, "dynamic_active_clusters")}
    held |= {("lds", one["name"]): one["active_state"]["version_info"] for one in config(envoy, "dynamic_listeners")}
    held |= {("rds", one["route_config"]["name"]): one["version_info"] for one in config(envoy, "dynamic_route_configs")}
    held |= {("sds", one["name"]): one["version_info"] for one in config(envoy, "dynamic_active_secrets")}
    assert held == {key: version for key, version in told.items() if key[0] != "eds"}


def test_tables_of_endpoints_and_secrets(world: World) -> None:
    rows = world.ask("pc", "endpoint", EAST.web.name, "--cluster", outbound("web", HTTP)).rows()
    found = endpoints(world.envoys[EAST.web.name], outbound("web", HTTP))
    assert [row[0] for row in rows[1:]] == [f"{EAST.web.ip}:{TARGETS['http']}", f"{WEST.gateway.ip}:{PASSTHROUGH_PORT}"]
    assert {row[0] for row in rows[1:]} == set(found)
    secrets = world.ask("pc", "secret", EAST.web.name)
    assert [row[:3] for row in secrets.rows()[1:]] == [["ROOTCA", "CA", "ACTIVE"], ["default", "Cert Chain", "ACTIVE"]]
    assert "PRIVATE KEY" not in world.ask("pc", "secret", EAST.web.name, "-o", "yaml").out


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("pc", "cluster", "nobody"), 1),
        (("explain", EAST.web.name, "nobody"), 1),
        (("explain", EAST.web.name, "web:1"), 1),
        (("explain", WEST.client.name, "plain"), 1),
        (("explain", EAST.web.name, "plain"), 0),
        (("explain", EAST.web.name, ":80"), 2),
        (("pc", "cluster", "demo"), 2),
        (("pc", "nonsense", EAST.web.name), 2),
        (("proxies", "--nonsense"), 2),
    ],
)
def test_exit_codes(world: World, args: tuple[str, ...], code: int) -> None:
    ran = world.ask(*args)
    assert ran.code == code, ran
    assert bool(ran.out) != bool(ran.err), "an answer, or why there is none"


def test_explain_says_of_each_endpoint_whether_and_why_and_envoy_agrees(world: World) -> None:
    for workload, other in ((EAST.web, WEST), (WEST.client, EAST)):
        (port,) = world.data("explain", workload.name, f"web:{HTTP}")["ports"]
        assert port["cluster"] == outbound("web", HTTP)
        found = {one["pod"]: (one["admitted"], one["rule"], one.get("gateways", [])) for one in port["candidates"]}
        own, far = (EAST, WEST) if workload is EAST.web else (WEST, EAST)
        assert found == {
            f"{own.cluster}/demo/{own.web.name}": (True, "direct", []),
            f"{far.cluster}/demo/{far.web.name}": (True, "via-gateway", [f"{other.gateway.ip}:{PASSTHROUGH_PORT}"]),
        }
        assert set(endpoints(world.envoys[workload.name], outbound("web", HTTP))) == {
            f"{own.web.ip}:{TARGETS['http']}",
            f"{other.gateway.ip}:{PASSTHROUGH_PORT}",
        }
    text = world.ask("explain", WEST.client.name, "plain")
    assert "not-mtls" in text.out
    assert endpoints(world.envoys[WEST.client.name], outbound("plain", 9082)) == {}
    offline = [str(world.plane.directory / "node.json"), "plain"]
    (world.plane.directory / "node.json").write_text(json.dumps({"id": WEST.client.id, "metadata": WEST.client.metadata}))
    reported = "  load       no load reports: this proxy has no stream for them (steersman bootstrap --load-reports)\n"
    assert text.out.count(reported) == 1  # only a server can tell of those
    assert run("explain", "-c", str(world.plane.config), "--node", *offline).out == text.out.replace(reported, "")


def test_render_says_what_a_connected_envoy_has(world: World) -> None:
    node = world.plane.directory / "node.json"
    node.write_text(json.dumps({"id": EAST.web.id, "metadata": EAST.web.metadata}))
    ran = run("render", "-c", str(world.plane.config), "--node", str(node), "-o", "json")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out) == world.data("proxy-config", "all", EAST.web.name)


@pytest.fixture
def taken(world: World) -> Iterator[str]:
    """Something else listens where a listener of east's sidecar would: its name."""
    directory = world.plane.clusters["east"]
    service, *others = extra("taken", 7, port=9095)
    service["spec"]["ports"][0]["name"] = others[1]["ports"][0]["name"] = "tcp-taken"
    with http_app(EAST.web.outbound, 9095):
        directory.put("taken.yaml", service, *others)
        yield "10.96.9.7_9095"
    for file in directory.path.glob("taken*"):
        file.unlink()
    eventually(partial(is_synced, world))
    assert "update-rejected" not in world.plane.findings()


def test_a_refusal_is_shown_in_envoys_words_and_costs_only_what_was_refused(world: World, taken: str) -> None:
    envoy = world.envoys[EAST.web.name]
    (finding,) = eventually(lambda: world.plane.findings().get("update-rejected", []))
    assert "Address already in use" in finding["cause"]
    assert EAST.web.name in finding["cause"] + finding["object"]
    ran = world.ask("proxies", EAST.web.name)
    assert (ran.code, ran.rows()[1][2:7]) == (1, ["SYNCED", "ERROR", "SYNCED", "SYNCED", "SYNCED"])
    (proxy,) = world.data("proxies", EAST.web.name, code=1)
    (rejected,) = (kind["rejection"] for kind in proxy["types"] if "rejection" in kind)
    assert "Address already in use" in rejected["message"]
    assert rejected["names"] == [taken]
    [traced] = rejected["resources"]
    [source, *_] = traced["made_from"]
    assert source["object"] == "Service east/demo/taken"
    assert source["place"].endswith("taken.yaml:1"), "where it is written"
    assert not traced.get("changed")
    assert f"made from Service east/demo/taken ({source['place']})" in ran.out
    assert rejected["message"] in ran.out, "its words, verbatim"
    assert finding["place"] == source["place"]
    [line] = [line for line in world.plane.said().splitlines() if "NACK of lds" in line]
    assert f"(made from Service east/demo/taken ({source['place']})" in line
    assert "Address already in use" in line
    assert world.plane.metrics("steersman_refused_resources") == {'{object="Service east/demo/taken",type="lds"}': 1}
    world.plane.clusters["east"].put("taken-not.yaml", *extra("more", 8))
    eventually(partial(endpoints, envoy, outbound("more", 9090)))
    eventually(lambda: any(one.get("name", "").endswith("_9090") for one in config(envoy, "dynamic_listeners")))
    assert world.plane.metrics("steersman_rejects_total") == {'{type="lds"}': 1}, "it is not sent again"


def test_doctor_says_of_the_files_what_the_server_says_of_them(world: World) -> None:
    ran = run("doctor", "-c", str(world.plane.config), "-o", "json")
    assert ran.code == 0
    live = [finding for one in world.plane.findings().values() for finding in one]
    assert sorted(map(str, json.loads(ran.out))) == sorted(map(str, live))
    assert len(live) > 0
    assert run("doctor", "-c", str(world.plane.config), "--fail-on", "warning").code == 1
    world.plane.clusters["west"].write("broken.yaml", "kind: [\n")
    try:
        broken = run("doctor", "-c", str(world.plane.config))
        assert broken.code == 1
        assert "file-unparsable" in broken.out
        assert eventually(lambda: world.plane.findings().get("file-unparsable"))
    finally:
        world.plane.clusters["west"].remove("broken.yaml")
    missing = world.plane.directory / "missing.yaml"
    missing.write_text("clusters: [{name: east, files: nowhere}]\n")
    assert run("doctor", "-c", str(missing)).code == 2


def test_who_leaves_is_listed_no_more(world: World) -> None:
    with envoys(world.plane, EAST.client):
        eventually(lambda: len(world.data("proxies")) == 3)
        assert world.ask("proxies", EAST.client.name).code == 0
    eventually(lambda: len(world.data("proxies")) == 2)
    assert world.ask("proxies", EAST.client.name).code == 1
    assert fqdn("web") in world.ask("pc", "c", EAST.web.name).out
