"""The contracts on imports in pyproject.toml: each refuses what it is there to refuse, and lets pass what the design allows."""

import os
import shutil
import subprocess
import sys
import tomllib
from itertools import combinations
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = (
    *("cli", "lab", "server", "admin", "ads", "snapshot", "explain", "pipeline", "resources", "views", "registry"),
    *("sources", "graph", "settings", "names", "model", "errors"),
)
SHELL = ("cli", "lab", "server", "admin")
WITH_ENVOY_MESSAGES = (*SHELL, "ads", "snapshot", "resources")
CONTRACTS = {
    contract["id"]: contract for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
KUBERNETES_PROTOCOL = tuple(
    name.removeprefix("steersman.").replace(".", "/") for name in CONTRACTS["kubernetes-protocol"]["source_modules"]
)
"""Modules that a contract names one by one."""


def imports_of(*layers: str) -> str:
    return "".join(f"import steersman.{layer}\n" for layer in layers)


def lint(path: Path, modules: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Our contracts on a `steersman` of empty layers, with these modules (path below the package, without `.py`) and their text."""
    package = path / "steersman"
    for layer in LAYERS:
        (package / layer).mkdir(parents=True)
        (package / layer / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "sources" / "kube").mkdir()
    (package / "sources" / "kube" / "__init__.py").touch()
    for module, text in {**dict.fromkeys(KUBERNETES_PROTOCOL, ""), **modules}.items():
        (package / f"{module}.py").write_text(text)
    shutil.copy(ROOT / "pyproject.toml", path)
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    return subprocess.run(
        command, check=False, cwd=path, env={**os.environ, "PYTHONPATH": str(path)}, capture_output=True, text=True, timeout=60
    )


def test_what_the_design_allows_passes(tmp_path: Path) -> None:
    downwards = {
        f"{layer}/downwards": imports_of(*(lower for lower in LAYERS[number + 1 :] if (layer, lower) != ("sources", "graph")))
        for number, layer in enumerate(LAYERS)
    }
    shell = {
        f"{layer}/shell": "import asyncio, aiohttp, grpc, watchfiles, logging, os, random, time, prometheus_client\n"
        for layer in (*SHELL, "sources")
    }
    messages = {f"{layer}/messages": "import envoy.config.core.v3.address_pb2, xds.core.v3\n" for layer in WITH_ENVOY_MESSAGES}
    answer = lint(tmp_path, downwards | shell | messages)
    assert answer.returncode == 0, answer.stdout


def test_every_import_against_the_direction_of_the_layers_is_refused_and_named(tmp_path: Path) -> None:
    upwards = [(lower, upper) for upper, lower in combinations(LAYERS, 2)] + [("sources", "graph")]
    modules = {f"{lower}/upwards_{upper}": imports_of(upper) for lower, upper in upwards}
    answer = lint(tmp_path, modules)
    assert answer.returncode == 1
    assert [pair for pair in upwards if f"steersman.{pair[0]}.upwards_{pair[1]} -> steersman.{pair[1]}" not in answer.stdout] == []


@pytest.mark.parametrize(
    ("allowed", "externals"),
    [
        ((*SHELL, "sources"), ("asyncio", "grpc", "time", "random", "logging", "prometheus_client")),
        ((*SHELL, "sources", "settings"), ("os",)),
        (WITH_ENVOY_MESSAGES, ("envoy", "xds")),
    ],
    ids=lambda given: given[0],
)
def test_what_only_some_layers_may_import_is_refused_in_all_others(
    tmp_path: Path, allowed: tuple[str, ...], externals: tuple[str, ...]
) -> None:
    refused = [(layer, external) for layer in LAYERS if layer not in allowed for external in externals]
    answer = lint(tmp_path, {f"{layer}/{external}_user": f"import {external}.something\n" for layer, external in refused})
    assert answer.returncode == 1
    assert [pair for pair in refused if f"steersman.{pair[0]}.{pair[1]}_user -> {pair[1]}" not in answer.stdout] == []


def test_a_layer_that_the_contract_does_not_know_is_refused(tmp_path: Path) -> None:
    answer = lint(tmp_path, {"helpers": ""})
    assert answer.returncode == 1
    assert "helpers" in answer.stdout


def test_what_the_kubernetes_protocol_decides_may_not_touch_the_world(tmp_path: Path) -> None:
    assert all((ROOT / "xds" / "steersman" / f"{module}.py").is_file() for module in KUBERNETES_PROTOCOL)
    forbidden = CONTRACTS["kubernetes-protocol"]["forbidden_modules"]
    answer = lint(tmp_path, dict.fromkeys(KUBERNETES_PROTOCOL, "".join(f"import {module}\n" for module in forbidden)))
    assert answer.returncode == 1
    named = [(module.replace("/", "."), external) for module in KUBERNETES_PROTOCOL for external in forbidden]
    assert [pair for pair in named if f"steersman.{pair[0]} -> {pair[1]}" not in answer.stdout] == []
