"""What holds of every command: help with an example, exit codes, and words instead of tracebacks."""

import asyncio
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from steersman import __version__
from steersman.cli import COMMANDS, _parser, main
from tests.cli.conftest import inline, steersman
from tests.support.live import SERVER
from tests.support.running import free_port

NAMES = (
    "serve",
    "render",
    "bootstrap",
    "clusters",
    "release",
    "proxies",
    "ps",
    "proxy-config",
    "pc",
    "explain",
    "doctor",
    "remote-secret",
    "lab",
)


async def test_help_lists_every_command() -> None:
    ran = await steersman("--help")
    assert ran.code == 0
    for name in (
        "serve",
        "render",
        "bootstrap",
        "clusters",
        "release",
        "proxies (ps)",
        "proxy-config (pc)",
        "explain",
        "doctor",
        "remote-secret",
        "lab",
    ):
        assert f"\n    {name} " in ran.out or f"\n    {name}\n" in ran.out
    assert len(COMMANDS) == 11


@pytest.mark.parametrize("name", NAMES)
def test_each_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert "example" in out
    assert "  steersman " in out


def test_help_imports_nothing_heavy_and_so_answers_at_once() -> None:
    heavy = ("grpc", "google.protobuf", "yaml", "aiohttp", "msgspec", "asyncio", "cryptography", "envoy")
    code = f"import sys; from steersman.cli import main; main(['--help']); sys.exit(str([m for m in {heavy!r} if m in sys.modules]))"
    assert os.popen(f'{sys.executable} -c "{code}" 2>&1 >/dev/null').read().strip() == "[]"


def test_help_takes_less_than_150_ms_of_a_processor() -> None:
    """Processor time: what else the machine does is not the command's."""
    taken = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert subprocess.run([sys.executable, "-m", "steersman.cli", "--help"], capture_output=True, check=False).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(taken) < 0.150


async def test_the_version_is_told() -> None:
    assert (await steersman("--version")) == (0, f"steersman {__version__}\n", "")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("fly",), "invalid choice: 'fly'"),
        (("serve",), "the following arguments are required: -c/--config"),
        (("serve", "-c", "/nowhere.yaml"), "/nowhere.yaml: got 'No such file or directory', expected a readable file"),
        (
            ("render", "-c", "/nowhere.yaml", "--node", "/node.yaml"),
            "/node.yaml: got 'No such file or directory', expected a readable file",
        ),
        (("doctor", "-c", "/nowhere.yaml"), "/nowhere.yaml: got 'No such file or directory', expected a readable file"),
        (("proxies", "--server", "localhost"), "--server: got 'localhost', expected HOST:PORT such as 127.0.0.1:15011"),
        (("proxies", "--server", "http://localhost:15011"), "expected HOST:PORT"),
        (("proxy-config", "cluster"), "the following arguments are required: PROXY"),
        (("proxy-config", "filters", "x"), "invalid choice: 'filters'"),
        (("proxy-config", "cluster", "x", "--port", "http"), "invalid int value: 'http'"),
        (("explain", "reviews"), "PROXY is missing"),
        (("explain", "-c", "x.yaml", "reviews"), "-c FILE and --node NODE.yaml go together"),
        (("explain", "-c", "x.yaml", "--node", "n.yaml", "client", "reviews"), "leave PROXY and --server out"),
        (("remote-secret",), "the following arguments are required: --name"),
        (("remote-secret", "--name", "x", "--kubeconfig", "/nowhere"), "/nowhere: it can't be read: No such file or directory"),
        (("bootstrap",), "the following arguments are required: --id"),
        (("bootstrap", "--id", "x", "--xds", "nowhere"), "xds address: got 'nowhere', expected HOST:PORT"),
        (("bootstrap", "--id", "x", "--label", "app"), "--label: got 'app', expected KEY=VALUE"),
        (("bootstrap", "--id", "x", "--instance-ip", "10.0.0"), "--instance-ip: got '10.0.0', expected an IP address"),
    ],
)
async def test_wrong_use_exits_2_and_says_what_was_expected(args: tuple[str, ...], words: str) -> None:
    ran = await inline(*args)
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err


async def test_the_server_in_the_environment_is_checked_as_well() -> None:
    ran = await steersman("proxies", STEERSMAN_SERVER="nowhere")
    assert ran.code == 2
    assert "$STEERSMAN_SERVER: got 'nowhere', expected HOST:PORT" in ran.err


@pytest.mark.parametrize("args", [("clusters",), ("proxies",), ("proxy-config", "cluster", "x"), ("explain", "x", "y")])
async def test_a_server_that_is_not_there_exits_1_and_says_what_to_check(args: tuple[str, ...]) -> None:
    server = f"{SERVER}:{free_port(SERVER)}"
    ran = await steersman(*args, "--server", server)
    assert (ran.code, ran.out) == (1, "")
    assert f"no Steersman answers at {server}" in ran.err
    assert "Check that `steersman serve` runs" in ran.err


async def test_something_else_than_a_steersman_is_told_from_none() -> None:
    import grpc

    other = grpc.aio.server()
    port = other.add_insecure_port("127.0.0.1:0")
    await other.start()
    ran = await steersman("proxies", STEERSMAN_SERVER=f"127.0.0.1:{port}")
    await other.stop(None)
    assert ran.code == 1
    assert f"what answers at 127.0.0.1:{port} has no Inspect service" in ran.err


async def test_a_reader_that_has_had_enough_is_no_error(inspect_port: int) -> None:
    command = (
        f"{sys.executable} -m steersman.cli pc all east/client -o yaml --server 127.0.0.1:{inspect_port} | head -1; exit ${{PIPESTATUS[0]}}"
    )
    process = await asyncio.create_subprocess_exec("bash", "-c", command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, err = await process.communicate()
    assert (process.returncode, out, err) == (0, b"clusters:\n", b"")


async def test_a_bootstrap_is_json_unless_yaml_is_asked_for() -> None:
    args = ("bootstrap", "--id", "sidecar~10.0.0.5~reviews-v1.default~cluster.local", "--cluster", "east", "--mode", "sotw")
    node = ("--network", "n", "--label", "app=reviews", "--label", "a=b=c", "--region", "r", "--zone", "z", "--workload", "reviews")
    as_json, as_yaml = await steersman(*args, *node), await steersman(*args, *node, "-o", "yaml")
    assert (as_json.code, as_json.err, as_yaml.err) == (0, "", "")
    bootstrap = json.loads(as_json.out)
    assert yaml.safe_load(as_yaml.out) == bootstrap
    assert bootstrap["node"] == {
        "id": "sidecar~10.0.0.5~reviews-v1.default~cluster.local",
        "cluster": "reviews",
        "locality": {"region": "r", "zone": "z"},
        "metadata": {
            "CLUSTER_ID": "east",
            "NETWORK": "n",
            "LABELS": {"app": "reviews", "a": "b=c"},
            "WORKLOAD_NAME": "reviews",
            "INTERCEPTION_MODE": "REDIRECT",
        },
    }
    assert bootstrap["dynamic_resources"]["ads_config"]["api_type"] == "GRPC"
    assert bootstrap["admin"]["address"]["socket_address"]["port_value"] == 15000


async def test_a_bootstrap_without_admin_and_with_an_odd_id_says_what_it_is() -> None:
    ran = await steersman("bootstrap", "--id", "edge-7", "--admin", "none")
    assert ran.code == 0
    assert "admin" not in json.loads(ran.out)
    assert "it will be served as a sidecar in namespace default" in ran.err


async def test_a_configuration_error_of_several_lines_is_told_in_full(tmp_path: Path) -> None:
    config = tmp_path / "steersman.yaml"
    config.write_text("mesh: {domian: x}\nclusters: [{name: east, files: nowhere}]\n")
    for command in ("serve", "doctor"):
        ran = await steersman(command, "-c", config)
        assert (ran.code, ran.out) == (2, "")
        assert "mesh.domian" in ran.err
        assert "clusters[0].files" in ran.err


def test_every_command_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    actions = [action for action in _parser()._actions if action.choices]
    names = list(actions[0].choices or ())
    assert [name for name in names if not re.search(rf"`{name}[ `]", page)] == []
