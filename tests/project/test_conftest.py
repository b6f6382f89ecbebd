"""How the suite itself runs: tried on a small suite with this project's pytest settings and conftest."""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

TIMED = """
    import json, os, time
    import pytest

    def note(what, *facts):
        with open(f"{what}.jsonl", "a") as notes:
            notes.write(json.dumps([__name__, os.environ["PYTEST_XDIST_WORKER"], *facts]) + "\\n")

    @pytest.fixture(scope="module", autouse=True)
    def made_once_in_a_file():
        note("made")

    def busy(alone):
        start = time.monotonic()
        time.sleep(0.1)
        note("spans", start, time.monotonic(), alone)

    @pytest.mark.parametrize("number", range(4))
    def test_among_others(number):
        busy(alone=False)

    @pytest.mark.alone
    def test_alone():
        busy(alone=True)

    def test_after():
        busy(alone=False)
"""
LONG = f"""{TIMED[: TIMED.index("    @pytest.mark.parametrize")]}
    @pytest.mark.slow
    def test_slow():
        busy(alone=False)
"""
SKIPPED = """
    import pytest

    @pytest.mark.parametrize("number", range(3))
    def test_needing_root(number):
        pytest.skip("needs root")

    @pytest.mark.skip(reason="needs an Envoy")
    def test_needing_envoy():
        pass
"""
SKIPPED_WHOLE = """
    import pytest

    pytest.skip("needs Docker", allow_module_level=True)
"""
GOLDEN = """
    def test_golden(update_golden):
        assert update_golden

    def test_plain():
        raise AssertionError
"""


def run_suite(path: Path, *arguments: str, **files: str) -> list[str]:
    """What pytest prints, line by line, on a suite of these files (`test_` and `.py` are added to their names)."""
    (path / "tests").mkdir()
    shutil.copy(ROOT / "pyproject.toml", path)
    for name in ("__init__.py", "conftest.py"):
        shutil.copy(ROOT / "tests" / name, path / "tests")
    shutil.copytree(ROOT / "tests" / "support", path / "tests" / "support", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in files.items():
        (path / "tests" / f"test_{name}.py").write_text(dedent(text))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}  # byte code of this place is of no use to anybody later
    done = subprocess.run(command, check=False, cwd=path, env=environment, capture_output=True, text=True, timeout=60)
    return done.stdout.splitlines()


class ParallelRun:
    """Two workers, three files of timed tests, a long one and two of skipped ones, run as `make test` runs the suite."""

    def __init__(self, path: Path) -> None:
        flags = re.search(r"pytest -n \$\(JOBS\) (.*) \$\(PYTEST\)", (ROOT / "Makefile").read_text())
        assert flags is not None
        self.path = path
        files = {"one": TIMED, "two": TIMED, "three": TIMED, "without_end": LONG, "skipped": SKIPPED, "whole": SKIPPED_WHOLE}
        self.lines = run_suite(path, "-n", "2", *flags[1].split(), **files)

    def noted(self, what: str) -> list[Any]:
        return [json.loads(line) for line in (self.path / f"{what}.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def parallel(tmp_path_factory: pytest.TempPathFactory) -> ParallelRun:
    return ParallelRun(tmp_path_factory.mktemp("suite"))


def test_a_test_that_must_be_alone_has_no_other_beside_it_while_the_others_run_side_by_side(parallel: ParallelRun) -> None:
    spans = [(start, end, alone) for _, _, start, end, alone in parallel.noted("spans")]
    overlapping = [(first, second) for first, second in combinations(spans, 2) if first[0] < second[1] and second[0] < first[1]]
    assert overlapping, "nothing ran in parallel, so that being alone proves nothing"
    assert sum(alone is True for *_, alone in spans) == 3
    assert [pair for pair in overlapping if pair[0][2] or pair[1][2]] == []


def test_the_tests_of_a_file_stay_on_one_worker_where_its_fixtures_are_made_once(parallel: ParallelRun) -> None:
    made = parallel.noted("made")
    assert sorted(module for module, _ in made) == ["tests.test_one", "tests.test_three", "tests.test_two", "tests.test_without_end"]
    assert {worker for _, worker in made} == {"gw0", "gw1"}


def test_what_takes_long_is_begun_first_although_others_have_more_tests(parallel: ParallelRun) -> None:
    begun = sorted(parallel.noted("spans"), key=lambda span: span[2])
    assert "tests.test_without_end" in [module for module, *_ in begun[:2]]


def test_what_was_skipped_is_counted_by_reason_before_the_closing_line(parallel: ParallelRun) -> None:
    assert any(re.fullmatch(r"!+ 5 SKIPPED !+", line) for line in parallel.lines)
    assert [line for line in parallel.lines if " x " in line] == ["    3 x needs root", "    1 x needs Docker", "    1 x needs an Envoy"]
    assert re.match(r"=+ 19 passed, 5 skipped in ", parallel.lines[-1])


def test_a_test_that_takes_the_golden_option_is_found_by_its_marker_and_no_skip_is_no_news(tmp_path: Path) -> None:
    lines = run_suite(tmp_path, "-n0", "-m", "golden", "--update-golden", golden=GOLDEN)
    assert re.match(r"=+ 1 passed, 1 deselected in ", lines[-1])
    assert not any("SKIPPED" in line for line in lines)
