"""render, explain and doctor read files alone: what they print, and what they leave alone."""

import asyncio
import json
from base64 import b64decode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from steersman import names
from steersman.admin.protojson import as_dict, message_of
from steersman.cli.node import read_node
from steersman.cli.offline import NOT_SIGNED, offline
from steersman.errors import ConfigError
from steersman.explain.served import served_to
from steersman.model.facts import Fact, Origin, Resolved, Upsert
from steersman.model.objects import Kind
from tests.cli.conftest import OBJECTS, Ran, inline, steersman

EXAMPLE = Path(__file__).parents[2] / "config" / "example.yaml"
HELLO = "outbound|80||hello.demo.svc.cluster.local"


@pytest.fixture
def node(tmp_path: Path) -> Path:
    file = tmp_path / "node.yaml"
    file.write_text("id: sidecar~10.10.0.9~client-1.demo~cluster.local\nmetadata: {CLUSTER_ID: east, SERVICE_ACCOUNT: client}\n")
    return file


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    """A cluster with a service of an HTTP and a TCP port, and one pod."""
    (tmp_path / "east").mkdir()
    (tmp_path / "east" / "objects.yaml").write_text(OBJECTS)
    config = tmp_path / "steersman.yaml"
    config.write_text("clusters: [{name: east, files: east}]\n")
    return config


def write(file: Path, text: str) -> None:
    file.write_text(text)


async def render(config: Path, node: Path, *options: str) -> dict[str, list[dict[str, Any]]]:
    ran = await inline("render", "-c", str(config), "--node", str(node), *options)
    assert (ran.code, ran.err) == (0, "")
    found: dict[str, list[dict[str, Any]]] = json.loads(ran.out) if "json" in options else yaml.safe_load(ran.out)
    return found


def named(found: list[dict[str, Any]]) -> list[str]:
    return [one.get("name") or one["cluster_name"] for one in found]


async def test_render_prints_one_object_with_all_five_keys(node: Path) -> None:
    ran = await steersman("render", "-c", EXAMPLE, "--node", node)
    assert (ran.code, ran.err) == (0, "")
    found = yaml.safe_load(ran.out)
    assert list(found) == ["clusters", "endpoints", "listeners", "routes", "secrets"]
    assert all(named(resources) == sorted(named(resources)) for resources in found.values())
    assert HELLO in named(found["clusters"])


async def test_json_and_yaml_say_the_same(node: Path) -> None:
    assert await render(EXAMPLE, node, "-o", "json") == await render(EXAMPLE, node)


async def test_field_names_are_envoys_own(node: Path) -> None:
    found = await render(EXAMPLE, node)
    cluster = next(one for one in found["clusters"] if one["name"] == HELLO)
    assert "connect_timeout" in cluster
    assert "eds_cluster_config" in cluster


async def test_there_is_an_assignment_for_each_eds_cluster(node: Path) -> None:
    found = await render(EXAMPLE, node)
    asked = [one.get("eds_cluster_config", {}).get("service_name") or one["name"] for one in found["clusters"] if one.get("type") == "EDS"]
    assert asked
    assert sorted(asked) == named(found["endpoints"])


@pytest.mark.parametrize(
    ("kind", "key"), [("cds", "clusters"), ("eds", "endpoints"), ("lds", "listeners"), ("rds", "routes"), ("sds", "secrets")]
)
async def test_one_type_leaves_the_other_lists_empty_and_is_the_same_as_among_all(kind: str, key: str, node: Path) -> None:
    everything = await render(EXAMPLE, node)
    one = await render(EXAMPLE, node, "--type", kind)
    assert one == {name: everything[name] if name == key else [] for name in everything}
    assert one[key]


async def test_the_example_is_seen_through_its_gateway(node: Path) -> None:
    found = await render(EXAMPLE, node, "--type", "eds")
    hello = next(one for one in found["endpoints"] if one["cluster_name"] == HELLO)
    addresses = [
        (member["endpoint"]["address"]["socket_address"]["address"], member["endpoint"]["address"]["socket_address"]["port_value"])
        for group in hello["endpoints"]
        for member in group["lb_endpoints"]
    ]
    assert addresses == [("192.0.2.7", 15443)]


def test_what_is_rendered_is_what_a_stream_would_be_sent(node: Path) -> None:
    proxy = read_node(node)
    mesh = offline(str(EXAMPLE))
    mesh.connect(proxy)
    types = tuple(names.TYPE_NAMES)
    rendered = {url: {one.name: one.body for one in found} for url, found in mesh.served(proxy, types).items()}
    held: dict[str, dict[str, bytes]] = {}
    for one in served_to(mesh.pipeline.graph.ask, proxy.id, types):
        if one.resource is not None:
            held.setdefault(one.type_url, {})[one.name] = one.resource.body
    assert rendered == held


async def test_secrets_are_there_without_keys_and_nothing_is_written(mesh: Path, node: Path) -> None:
    before = sorted(mesh.parent.rglob("*"))
    found = await render(mesh, node)
    assert named(found["secrets"]) == ["ROOTCA", "default"]
    root, own = found["secrets"]
    texts = {
        "root": root["validation_context"]["trusted_ca"],
        "chain": own["tls_certificate"]["certificate_chain"],
        "key": own["tls_certificate"]["private_key"],
    }
    assert {name: b64decode(source["inline_bytes"]) for name, source in texts.items()} == {
        "root": NOT_SIGNED,
        "chain": NOT_SIGNED,
        "key": b"[redacted]",
    }
    assert sorted(mesh.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id: x\nidd: y\n", 'has no field named "idd"'),
        ("metadata: [1]\n", "metadata"),
        ("- id: x\n", "expected an envoy.config.core.v3.Node"),
        ("", "expected an envoy.config.core.v3.Node"),
        ("id: [\n", "node.yaml:2: got"),
        ("id: {}\n", "id"),
        ("id: x\nmetadata: {CLUSTER_ID: 2026-01-01}\n", "metadata"),
    ],
)
async def test_a_node_that_is_none_exits_2_and_says_where(text: str, words: str, mesh: Path, node: Path) -> None:
    write(node, text)
    for args in (("render",), ("explain", "web")):
        ran = await inline(args[0], "-c", str(mesh), "--node", str(node), *args[1:])
        assert (ran.code, ran.out) == (2, "")
        assert str(node) in ran.err
        assert words in ran.err


def test_a_node_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"node\.yaml: got 'bytes that are no UTF-8'"):
        read_node(file)
    with pytest.raises(ConfigError, match="expected a readable file"):
        read_node(tmp_path)


async def test_a_node_in_json_will_do(mesh: Path, node: Path) -> None:
    write(node, json.dumps({"id": "sidecar~10.0.0.9~c.demo~cluster.local", "metadata": {"CLUSTER_ID": "east"}}))
    assert "outbound|80||web.demo.svc.cluster.local" in named((await render(mesh, node))["clusters"])


# -- what comes from outside --------------------------------------------------------------------------------------------------


class Names:
    """In place of DNS: answers for gw.example.org, and never for another name."""

    def __init__(self) -> None:
        self.wanted: frozenset[str] = frozenset()

    def want(self, names: frozenset[str]) -> None:
        self.wanted = names

    async def run(self, emit: Callable[[Sequence[Fact]], None]) -> None:
        name = "gw.example.org"
        if name in self.wanted:
            origin = Origin(source="dns", place=name)
            emit([Upsert(kind=Kind.RESOLVED, key=name, value=Resolved(addresses=("192.0.2.9",)), origin=origin)])
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("names", "unresolved"), [(("gw.example.org",), []), (("gw.example.org", "lost.example.org"), ["lost.example.org"])]
)
async def test_hostnames_of_gateways_are_resolved_and_those_that_are_not_are_told(
    names: tuple[str, ...], unresolved: list[str], mesh: Path, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steersman.sources.dns.Resolver", Names)
    monkeypatch.setattr("steersman.cli.offline.PATIENCE", 0.2)
    gateways = ", ".join(f"{{address: {name}}}" for name in names)
    write(
        mesh,
        "clusters: [{name: east, network: one, files: east}]\n"
        f"mesh: {{networks: {{one: {{gateways: [{gateways}]}}, two: {{endpoints: [{{fromRegistry: east}}]}}}}}}\n",
    )
    write(
        mesh.parent / "east" / "objects.yaml",
        OBJECTS.replace("{app: web}}\nstatus", "{app: web, security.istio.io/tlsMode: istio}}\nstatus"),
    )
    write(node, "id: sidecar~10.0.0.9~c.demo~cluster.local\nmetadata: {CLUSTER_ID: east, NETWORK: two}\n")
    ran = await inline("render", "-c", str(mesh), "--node", str(node), "--type", "eds")
    assert ran.err == "".join(
        f"steersman: note: the gateway hostname {name} was not resolved, so it gives no address here\n" for name in unresolved
    )
    assert "address: 192.0.2.9" in ran.out


async def test_what_is_wrong_with_the_ca_is_found_and_nothing_is_made(mesh: Path) -> None:
    directory = mesh.parent / ".steersman" / "ca"
    directory.mkdir(parents=True, mode=0o700)
    write(directory / "root-cert.pem", "no certificate")
    ran = await doctor(mesh, "-o", "json")
    assert ran.code == 1
    assert "root-unusable" in {one["id"] for one in json.loads(ran.out)}
    assert [file.name for file in directory.iterdir()] == ["root-cert.pem"]


# -- explain ------------------------------------------------------------------------------------------------------------------


async def test_explain_says_by_which_rule_and_object_and_where_that_is_written(node: Path) -> None:
    ran = await steersman("explain", "-c", EXAMPLE, "--node", node, "hello:http", "--facts")
    assert (ran.code, ran.err) == (0, "")
    line = next(line for line in ran.out.splitlines() if "west/demo/hello-1" in line)
    assert "via-gateway" in line
    assert "192.0.2.7:15443" in line
    assert "eastwest.yaml:2)" in ran.out
    assert "computed from " in ran.out
    assert "load" not in ran.out, "no server was asked what the proxy reports"


async def test_explain_as_json_is_the_message_of_the_service(node: Path) -> None:
    ran = await inline("explain", "-c", str(EXAMPLE), "--node", str(node), "hello", "-o", "json")
    value = json.loads(ran.out)
    assert value["service"] == "hello.demo.svc.cluster.local"
    assert [(one["rule"], one["admitted"]) for one in value["ports"][0]["candidates"]] == [("via-gateway", True)]
    assert value["ports"][0]["facts"]


@pytest.mark.parametrize(("service", "code"), [("hallo", 1), ("hello:81", 1), ("", 2)])
async def test_explain_of_what_is_not_there_says_so(service: str, code: int, node: Path) -> None:
    ran = await inline("explain", "-c", str(EXAMPLE), "--node", str(node), service)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("steersman: ")


# -- doctor -------------------------------------------------------------------------------------------------------------------


async def doctor(config: Path, *options: str) -> Ran:
    return await inline("doctor", "-c", str(config), *options)


async def test_the_example_is_sound() -> None:
    assert await steersman("doctor", "-c", EXAMPLE) == (0, "No findings.\n", "")
    assert await doctor(EXAMPLE, "-o", "json") == (0, "[]\n", "")


async def test_doctor_says_what_where_why_and_what_to_do(mesh: Path) -> None:
    (mesh.parent / "east" / "more.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: lonely, namespace: demo}\n"
        "spec: {clusterIP: 10.96.0.8, selector: {app: none}, ports: [{port: 80}]}\n"
    )
    ran = await doctor(mesh)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "warning selector-matches-nothing: Service east/demo/lonely\n"
        f"  at      {mesh.parent}/east/more.yaml:1\n"
        "  cause   no Pod in namespace demo of cluster east is labelled app=none\n"
        "  remedy  correct the selector or the Pods' labels; nothing, if the workload is scaled to zero\n"
        "\n"
        "1 finding: 1 warning\n"
    )
    assert (await doctor(mesh, "--fail-on", "warning")).code == 1
    found = json.loads((await doctor(mesh, "-o", "json")).out)
    assert [(one["id"], one["severity"], one["object"]) for one in found] == [
        ("selector-matches-nothing", "WARNING", "Service east/demo/lonely")
    ]


async def test_an_error_makes_the_exit_code_1(mesh: Path) -> None:
    (mesh.parent / "east" / "more.yaml").write_text("kind: Service\n  bad: [\n")
    ran = await doctor(mesh)
    assert ran.code == 1
    assert f"{mesh.parent}/east/more.yaml" in ran.out
    assert ran.out.startswith("error ")


async def test_a_broken_file_costs_the_others_nothing(mesh: Path, node: Path) -> None:
    whole = await render(mesh, node)
    (mesh.parent / "east" / "more.yaml").write_text("kind: Service\n  bad: [\n")
    assert await render(mesh, node) == whole


def test_resources_of_every_type_can_be_shown(node: Path) -> None:
    proxy = read_node(node)
    mesh = offline(str(EXAMPLE))
    mesh.connect(proxy)
    for url, resources in mesh.served(proxy, names.TYPE_NAMES).items():
        for one in resources:
            assert as_dict(message_of(url, one.body))
