"""What README tells a user to type works as it is written there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.removesuffix("&").partition(">")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
OFFLINE = [command for command in COMMANDS if " -c " in command and " serve " not in command]


def steersman(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "steersman.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_there_are_commands_to_try() -> None:
    assert len(OFFLINE) == 3
    assert len(COMMANDS) > len(OFFLINE)


@pytest.mark.parametrize("command", OFFLINE)
def test_a_command_that_needs_no_server_runs_and_is_content(command: str) -> None:
    ran = steersman(*shlex.split(command)[1:])
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("steersman") and command not in OFFLINE])
def test_a_command_that_needs_a_server_is_one_that_there_is(command: str) -> None:
    """With --help after it a command says how it is used, unless an option before that is unknown."""
    ran = steersman(*shlex.split(command)[1:], "--help")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("usage: steersman")


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)]+)\)", README))
def test_a_page_that_is_linked_is_there(link: str) -> None:
    assert (ROOT / link).exists()
