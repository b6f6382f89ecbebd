"""docs/conformance.md is true: each case has its row, and the tests that are named there exist and carry its id."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    line.strip("| ").split(" | ") for line in (ROOT / "docs" / "conformance.md").read_text().splitlines() if re.match(r"\| C\d\d ", line)
]
PLACES = ["core", "socket", "E", "R"]


def test_each_case_has_one_row() -> None:
    assert [row[0] for row in ROWS] == [f"C{number:02}" for number in range(1, 61)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_its_tests_exist_and_are_named_for_it(row: list[str]) -> None:
    case, demand, where, tests = row
    assert demand
    places = where.split(", ")
    assert places == [place for place in PLACES if place in places]
    named = re.findall(r"`([^`]+)::([^`]+)`", tests)
    assert named
    for path, name in named:
        assert case.lower() in re.match(r"test_((?:c\d\d_)*)", name)[1].split("_"), name  # type: ignore[index]
        assert re.search(rf"^\s*(async )?def {name}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE), f"{path} has no {name}"


def test_cases_that_need_real_clients_have_them() -> None:
    where = {row[0]: row[2].split(", ") for row in ROWS}
    for case in ("C11", "C27", "C28", "C30", "C32", "C39", "C40", "C55", "C58", "C59"):
        assert "E" in where[case], case
    for case in ("C52", "C56"):
        assert "R" in where[case], case
