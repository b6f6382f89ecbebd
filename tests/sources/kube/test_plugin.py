"""Exec plugins: what they are asked, what is made of what they print, and that none outlives those who wait for it."""

import asyncio
import base64
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from steersman.errors import SourceError
from steersman.sources.kube.api import Api
from steersman.sources.kube.credentials import KubeconfigFile
from steersman.sources.kube.kubeconfig import BadKubeconfig
from steersman.sources.kube.plugin import exec_credential
from steersman.sources.kube.timing import Timing
from tests.support.apiserver.double import Double

V1, BETA = "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"
PATIENCE = 10.0
CLUSTER = {"server": "https://192.0.2.1", "certificate-authority-data": "QUJD", "insecure-skip-tls-verify": False}


def shell(script: str, **more: Any) -> dict[str, Any]:
    """The `exec` of a user whose plugin is this script."""
    return {"apiVersion": V1, "command": "sh", "args": ["-c", script], **more}


def says(status: dict[str, str], version: str = V1, kind: str = "ExecCredential") -> str:
    return f"echo '{json.dumps({'apiVersion': version, 'kind': kind, 'status': status})}'"


def kubeconfig(directory: Path, double: Double, command: dict[str, Any]) -> KubeconfigFile:
    config = double.kubeconfig()
    config["users"][0]["user"] = {"exec": command}
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return KubeconfigFile(path)


async def test_a_cluster_is_read_with_the_token_that_a_plugin_says(double: Double, tmp_path: Path) -> None:
    access = kubeconfig(tmp_path, double, shell(says({"token": double.token})))
    async with Api(access, Timing()) as api, api.request("/api/v1/services") as response:
        assert response.status == 200
    assert double.requests(resource="services")[-1].user == "steersman"


async def test_a_plugin_learns_the_version_and_its_variables_and_the_cluster_where_it_asks_for_it(tmp_path: Path) -> None:
    script = f'test "$REGION" = north || exit 3; {says({"token": "t"}, BETA)}; echo "$KUBERNETES_EXEC_INFO" > "$TOLD"'
    for asked, spec in ((False, {"interactive": False}), (True, {"interactive": False, "cluster": CLUSTER})):
        env = [{"name": "REGION", "value": "north"}, {"name": "TOLD", "value": str(tmp_path / "told")}]
        assert await exec_credential(shell(script, apiVersion=BETA, env=env, provideClusterInfo=asked), CLUSTER, "it") == {"token": "t"}
        assert json.loads((tmp_path / "told").read_text()) == {"apiVersion": BETA, "kind": "ExecCredential", "spec": spec}


async def test_a_client_certificate_is_taken_as_a_kubeconfig_has_it() -> None:
    user = await exec_credential(shell(says({"clientCertificateData": "PEM", "clientKeyData": "KEY"})), CLUSTER, "it")
    assert {key: base64.b64decode(value) for key, value in user.items()} == {"client-certificate-data": b"PEM", "client-key-data": b"KEY"}


async def test_a_plugin_that_says_much_on_its_standard_error_is_no_dead_end() -> None:
    script = f"head -c 300000 /dev/zero | tr '\\0' x >&2; {says({'token': 't'})}"
    assert await asyncio.wait_for(exec_credential(shell(script), CLUSTER, "it"), 20) == {"token": "t"}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ({}, "expected command, a program, and apiVersion"),
        ({"command": "sh", "apiVersion": "v1"}, "expected command, a program, and apiVersion"),
        (shell("", args=[1]), "expected args, a list of texts"),
        (shell("", env=[{"name": "x"}]), "expected env, a list of name and value"),
        (shell("", interactiveMode="Always"), "wants a terminal"),
        ({"command": "no-such-plugin", "apiVersion": V1, "installHint": "get it from us"}, "No such file or directory; get it from us"),
        (shell("echo starting >&2; echo log in first >&2; exit 3"), "sh ended with 3: log in first"),
        (shell("echo the-secret"), "printed no ExecCredential"),
        (shell(says({"token": "the-secret"}, BETA)), f"apiVersion {BETA}, expected ExecCredential and {V1}"),
        (shell(says({"token": "the-secret"}, kind="Secret")), "kind Secret"),
        (shell(says({})), "neither a token nor a client certificate"),
        (shell(says({"clientKeyData": "the-secret"})), "expected both or neither"),
    ],
)
async def test_what_is_wrong_with_a_plugin_is_told_without_what_it_printed(command: dict[str, Any], words: str) -> None:
    with pytest.raises(BadKubeconfig, match=r"^the kubeconfig: exec: ") as caught:
        await exec_credential(command, CLUSTER, "the kubeconfig")
    assert words in str(caught.value)
    assert "the-secret" not in str(caught.value)


def alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]


def started(file: Path, count: int) -> list[int]:
    """The process numbers that are written there, when so many are."""
    deadline = time.monotonic() + PATIENCE
    while not file.exists() or len(file.read_text().split()) < count:
        assert time.monotonic() < deadline, "the plugin does not run"
        time.sleep(0.01)
    return [int(number) for number in file.read_text().split()]


def all_gone(numbers: list[int]) -> bool:
    """Whether these processes are gone in a moment; if not, they are after this."""
    deadline = time.monotonic() + PATIENCE
    while (left := [number for number in numbers if alive(number)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    for number in left:
        os.kill(number, signal.SIGKILL)
    return not left


def hanging(file: Path) -> dict[str, Any]:
    """A plugin that waits for a child of its own for ever, and minds no SIGTERM."""
    return shell(f"trap '' TERM; sleep 600 & echo $! $$ > {file}; wait")


async def test_a_plugin_that_hangs_is_killed_with_its_children_when_it_took_too_long(double: Double, tmp_path: Path) -> None:
    access = kubeconfig(tmp_path, double, hanging(tmp_path / "numbers"))
    with pytest.raises(SourceError, match=r"the credentials \(.*kubeconfig\) could not be had within 0.5 s"):
        async with Api(access, Timing(credentials=0.5)):
            pass
    assert await asyncio.to_thread(lambda: all_gone(started(tmp_path / "numbers", 2)))


async def test_a_plugin_that_hangs_is_killed_when_its_cluster_is_given_up(double: Double, tmp_path: Path) -> None:
    waiting = asyncio.create_task(kubeconfig(tmp_path, double, hanging(tmp_path / "numbers")).credentials())
    numbers = await asyncio.to_thread(started, tmp_path / "numbers", 2)
    waiting.cancel()
    await asyncio.wait([waiting], timeout=5)
    assert waiting.cancelled()
    assert await asyncio.to_thread(all_gone, numbers)


def children() -> str:
    return Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()


@pytest.mark.parametrize("rounds", range(8))
async def test_a_plugin_that_has_just_been_started_is_killed_with_its_children_as_well(tmp_path: Path, rounds: int) -> None:
    """It runs before the event loop has heard of it; it is given up so many rounds of the loop later."""
    before = children()
    waiting = asyncio.create_task(exec_credential(hanging(tmp_path / "numbers"), CLUSTER, "the kubeconfig"))
    while children() == before:  # noqa: ASYNC110 - each round counts
        await asyncio.sleep(0)
    numbers = started(tmp_path / "numbers", 2)
    for _ in range(rounds):
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting], timeout=5)
    ended = waiting.cancelled()
    assert await asyncio.to_thread(all_gone, numbers)
    assert ended
