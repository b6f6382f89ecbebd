"""What every test shares: how tests are spread over workers, how hard properties are tried, the golden option, and a closing word on what
was skipped."""

import os
import tempfile
from collections import Counter
from collections.abc import Generator
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.alone import Room
from tests.support.examples import EVERYDAY, THOROUGH

ROOM = pytest.StashKey[Room]()
_SECONDS = {"slow": 12.0, "alone": 5.0, "kube": 2.0, "envoy": 2.0, "netns": 2.0}
"""What tests take that are so marked, roughly."""
_SECONDS_OF = {"live": 2.0, "kube": 1.0, "sources": 0.6, "server": 0.6, "project": 0.5, "cli": 0.3}
"""What any test of these directories takes besides: they start processes, or wait for what is given time to happen."""

# No server here is known to a public authority, and every process that is started would read them all, twice.
os.environ["SSL_CERT_FILE"] = os.devnull

# Every day the same examples, until a test is written anew: who breaks something sees it in that run, and nobody in another's. New ones are
# what `make thorough` is for.
settings.register_profile("everyday", deadline=None, max_examples=EVERYDAY, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=THOROUGH)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "everyday"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite golden files from what the code gives now, prune those of no case"
    )


@pytest.fixture(scope="session")
def update_golden(pytestconfig: pytest.Config) -> bool:
    """Whether golden files are to be rewritten instead of compared. A test that takes this fixture is marked `golden`."""
    return bool(pytestconfig.getoption("--update-golden"))


def pytest_configure(config: pytest.Config) -> None:
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is not None and hasattr(config, "workerinput"):
        config.stash[ROOM] = Room(Path(tempfile.gettempdir()) / f"steersman-tests-{run}")


def pytest_unconfigure(config: pytest.Config) -> None:
    room = config.stash.get(ROOM, None)
    if room is not None:
        room.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "update_golden" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.golden)
    if ROOM in config.stash:
        longest_files_first(items)


def longest_files_first(items: list[pytest.Item]) -> None:
    """Workers take whole files, in this order: a long one that came last would leave all workers but one with nothing to do."""
    seconds: dict[Path, float] = {}
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        base = max((more for name, more in _SECONDS_OF.items() if name in item.path.parts), default=0.1)
        seconds[item.path] = seconds.get(item.path, 0) + base + sum(longer for name, longer in _SECONDS.items() if name in marks)
    items.sort(key=lambda item: -seconds[item.path])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Outermost, so that the wait for a test that must be alone does not count towards another test's time-out."""
    room = item.config.stash.get(ROOM, None)
    with nullcontext() if room is None else room.held(alone=item.get_closest_marker("alone") is not None):
        return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A skip is a hole in what a green run proves: say how many, and why."""
    skipped: list[pytest.TestReport | pytest.CollectReport] = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped if isinstance(report.longrepr, tuple))
    terminalreporter.section(f"{len(skipped)} SKIPPED", sep="!", yellow=True, bold=True)
    for reason, count in sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0])):
        terminalreporter.write_line(f"{count:5} x {reason}", yellow=True)
