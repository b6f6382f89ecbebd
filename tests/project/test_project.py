"""What the project promises to whoever clones it, before any of its code runs."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import steersman

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def run(*command: str | Path, cwd: Path = ROOT, check: bool = True, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, check=check, env=env, capture_output=True, text=True, timeout=60)


def make_targets() -> list[str]:
    """Targets that the Makefile defines by name, in its order; files and make's own special targets are not among them."""
    return re.findall(r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)


def direct_dependencies() -> list[Requirement]:
    project = PYPROJECT["project"]
    extras = (requirement for requirements in project["optional-dependencies"].values() for requirement in requirements)
    return [Requirement(text) for text in (*project["dependencies"], *extras)]


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def committed_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what is committed cannot be told")
    listed = run("git", "-c", "safe.directory=*", "ls-files", "-z").stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_make_lists_every_target_with_a_line_of_its_own() -> None:
    lines = run("make", "--no-print-directory").stdout.splitlines()
    listed = {words[1]: words[2:] for words in (line.split() for line in lines)}
    assert list(listed) == make_targets()
    assert {"demo", "test", "check", "bench", "lock", "golden", "protos", "help"} <= set(listed)
    assert all(listed.values()), "a target without a description"


def test_byte_code_is_kept_whatever_the_environment_says_and_not_beside_the_source() -> None:
    shown = "--eval=shown: ; @$(PYTHON) -c 'import sys; print(sys.dont_write_bytecode, sys.pycache_prefix)'"
    for said in ({}, {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": "elsewhere"}):
        answer = run("make", "--no-print-directory", f"PYTHON={sys.executable}", shown, "shown", env={**os.environ, **said})
        assert answer.stdout.split() == ["False", str(ROOT / ".venv" / "pycache")]


def test_every_target_is_phony_so_that_no_file_of_its_name_can_shadow_it() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert sorted(phony[1].split()) == sorted(make_targets())


def test_the_readme_and_the_contributor_are_told_of_no_target_that_is_not_there() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        named = re.findall(r"`make ([a-z-]+)", page.read_text()) + re.findall(r"^make ([a-z-]+)", page.read_text(), re.MULTILINE)
        assert set(named) <= set(make_targets()), page


def test_the_readme_gives_the_two_commands_on_its_first_screen() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:40])
    assert "make demo" in first_screen
    assert "make test" in first_screen


@pytest.mark.parametrize("requirement", direct_dependencies(), ids=str)
def test_every_direct_dependency_is_pinned_to_a_version_that_it_allows(requirement: Requirement) -> None:
    version = pins().get(canonicalize_name(requirement.name))
    assert version is not None, f"{requirement.name} has no pin: run `make lock`"
    assert requirement.specifier.contains(version), f"constraints.txt has {requirement.name} {version}, pyproject.toml wants {requirement}"


def test_whatever_a_dependency_needs_in_turn_is_pinned_too() -> None:
    waiting, seen = direct_dependencies(), set[tuple[str, str]]()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            needed = (Requirement(text) for text in requires(name) or ())
            waiting += [need for need in needed if need.marker is None or need.marker.evaluate({"extra": extra})]
    assert {name for name, _ in seen} - pins().keys() == set(), "run `make lock`"


def test_the_lock_holds_exact_versions_and_no_places() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+!]*", line)] == []
    assert len(pins()) == len(lines), "a project is pinned twice"
    assert canonicalize_name(PYPROJECT["project"]["name"]) not in pins()


def test_the_lock_of_the_javascript_client_holds_exact_versions_and_no_places() -> None:
    lock = json.loads((ROOT / "tests" / "support" / "grpc_js" / "package-lock.json").read_text())
    packages = [package for path, package in lock["packages"].items() if path]
    assert packages
    assert all(package["version"] and package["integrity"] for package in packages)
    assert "http" not in " ".join(str(value) for package in packages for key, value in package.items() if key != "dependencies")


def test_the_source_root_is_no_package_and_leaves_the_name_xds_to_its_wheel() -> None:
    assert not (ROOT / "xds" / "__init__.py").exists()
    wheel = importlib.import_module("xds.core.v3.context_params_pb2")
    assert wheel.__file__ is not None
    assert ROOT / "xds" not in Path(wheel.__file__).parents
    reason = re.compile(r"`xds-protos`[^\n]*\bowns\b[^\n]*`xds`")
    for page in ("pyproject.toml", "README.md"):
        assert reason.search((ROOT / page).read_text()), f"{page} no longer says why xds/ is no package"


def test_the_package_is_typed_and_knows_its_version() -> None:
    package = Path(steersman.__file__).parent
    assert package == ROOT / "xds" / "steersman"
    assert (package / "py.typed").is_file()
    assert steersman.__version__ == PYPROJECT["project"]["version"]


def test_the_licence_is_the_one_that_the_metadata_names() -> None:
    assert PYPROJECT["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_changelog_has_an_unreleased_section_on_top() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"


def test_no_committed_file_names_a_place_on_somebodys_machine() -> None:
    homes = re.compile(rb"(?<![\w.$}])/(?:work|root|Users|home/[a-z][\w-]*)/[\w.]")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.decode(errors='replace').strip()[:100]}"
        for path in committed_files()
        for number, line in enumerate(path.read_bytes().splitlines(), start=1)
        if homes.search(line)
    ]
    assert found == []


def test_what_a_run_leaves_behind_is_ignored() -> None:
    committed = {path.relative_to(ROOT).parts for path in committed_files()}
    leavings = {".venv", ".steersman", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis"}
    assert [parts for parts in committed if leavings & set(parts)] == []
    ignored = run("git", "-c", "safe.directory=*", "check-ignore", "--no-index", *(f"{name}/file" for name in sorted(leavings))).stdout
    assert ignored.splitlines() == [f"{name}/file" for name in sorted(leavings)]


def test_generated_messages_are_what_the_proto_files_compile_to(tmp_path: Path) -> None:
    sources = sorted((ROOT / "protos").rglob("*.proto"))
    generated = {
        path.relative_to(ROOT / "xds") for path in (ROOT / "xds" / "steersman").rglob("*_pb2*.py*") if "__pycache__" not in path.parts
    }
    if not sources:
        assert generated == set(), "generated files of no proto file"
        return
    run("make", "protos", f"BIN={Path(sys.executable).parent}", "STAMP=", f"OUT={tmp_path}")
    fresh = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert generated == fresh, "run `make protos`"
    stale = [name for name in sorted(fresh) if (ROOT / "xds" / name).read_bytes() != (tmp_path / name).read_bytes()]
    assert stale == [], "run `make protos`"


def test_the_scripts_of_ci_can_be_run() -> None:
    for script in sorted((ROOT / ".ci").iterdir()):
        assert script.stat().st_mode & 0o111, f"{script} is not executable"
        shell = script.read_text().partition("\n")[0].removeprefix("#!")
        run(shell, "-n", script)


class Checkout:
    """A copy of what `make` needs to set itself up, with Pythons that fail as those of other machines do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.copytree(ROOT / ".ci", path / ".ci")
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, path)

    def python(self, script: str) -> Path:
        executable = self.path / "python"
        executable.write_text(f"#!/bin/sh\n{script}\n")
        executable.chmod(0o755)
        return executable


def test_an_old_python_is_refused_with_the_version_found_and_the_remedy(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    old = checkout.python('[ "$1" = --version ] && echo "Python 3.9.2"; exit $([ "$1" = --version ]; echo $?)')
    answer = run("make", "test", f"PYTHON={old}", cwd=tmp_path, check=False)
    assert answer.returncode != 0
    assert "needs Python 3.11 or newer" in answer.stderr
    assert "Python 3.9.2" in answer.stderr
    assert "make PYTHON=" in answer.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_python_that_is_not_there_is_said_not_to_be(tmp_path: Path) -> None:
    Checkout(tmp_path)
    answer = run("make", "test", "PYTHON=no-such-python", cwd=tmp_path, check=False)
    assert answer.returncode != 0
    assert answer.stderr.startswith("Steersman needs Python 3.11 or newer; there is no no-such-python here.\n")


def test_a_python_without_venv_is_told_from_a_broken_one_and_leaves_no_half_made_environment(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    crippled = checkout.python(
        f'[ "$2" = venv ] && mkdir -p .venv/bin && echo "ensurepip is not available" && exit 1\nexec {sys.executable} "$@"'
    )
    answer = run("make", "test", f"PYTHON={crippled}", cwd=tmp_path, check=False)
    assert answer.returncode != 0
    assert "Creating .venv" in answer.stdout
    assert "apt-get install python3-venv" in answer.stderr
    assert not (tmp_path / ".venv").exists()
