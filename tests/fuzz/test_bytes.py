"""Bytes against the decoding and both streams: the seeds, and for a few seconds what atheris makes of them (make fuzz: longer)."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.corpus import seeds, write
from tests.fuzz.subject import plays

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 5

needs_atheris = pytest.mark.skipif(
    find_spec("atheris") is None, reason="atheris is not installed: its wheels are for Linux on x86-64 and Python 3.11 to 3.13"
)


@pytest.mark.parametrize(("name", "raw"), list(seeds()), ids=[name for name, _ in seeds()])
def test_every_seed_is_a_conversation_to_its_end_and_may_be_cut_off_anywhere(name: str, raw: bytes) -> None:
    played = plays(raw)
    assert not played.closed
    assert len(played.nonces) >= 4, "responses of most types"
    for end in range(0, len(raw), 7):
        plays(raw[:end])


def fuzz(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )


@needs_atheris
@pytest.mark.slow
def test_for_a_few_seconds_nothing_that_the_fuzzer_makes_breaks_anything(tmp_path: Path) -> None:
    ran = fuzz("--seconds", str(SECONDS), "--corpus", str(tmp_path / "corpus"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Done " in ran.stderr
    assert len(list((tmp_path / "corpus").iterdir())) > len(list(seeds())), "it has found its way into the code"


@needs_atheris
def test_what_breaks_something_can_be_played_again(tmp_path: Path) -> None:
    write(tmp_path)
    ran = fuzz(str(tmp_path / "seed-delta-bare"))
    assert (ran.returncode, "nothing breaks" in ran.stdout) == (0, True), ran.stderr
