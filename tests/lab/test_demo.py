"""What `make demo` runs, seen as its user does: it exits 0 only if all that it promises was seen."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.lab.files import TWO_NETWORKS

pytestmark = [pytest.mark.envoy, pytest.mark.slow]


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lab-") as made:
        Path(made).chmod(0o755)
        monkeypatch.setenv("STEERSMAN_LAB_DIR", made)
        yield Path(made)


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "steersman.cli", "lab", "demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


@pytest.mark.netns
def test_the_demonstration_sees_traffic_cross_and_fail_over_between_real_networks(base: Path, namespaces_possible: str | None) -> None:
    if namespaces_possible is not None:
        pytest.skip(f"network namespaces: {namespaces_possible}")

    seen = demo(str(TWO_NETWORKS))

    assert seen.returncode == 0, seen.stdout + seen.stderr
    assert "FAILED" not in seen.stdout
    assert "10.10.0.4:9080 was east/reviews-v1 and west/ratings-v1" in seen.stdout
    assert list(base.iterdir()) == []


def test_the_demonstration_runs_without_namespaces_and_says_what_is_not_isolated(base: Path, tmp_path: Path) -> None:
    """And on the older protocol, so that both are run."""
    lab = yaml.safe_load(TWO_NETWORKS.read_text())
    for cluster in lab["config"]["clusters"]:
        cluster["files"] = str(TWO_NETWORKS.parent / cluster["files"])
    file = tmp_path / "two-networks.yaml"
    file.write_text(yaml.safe_dump({**lab, "lab": {**lab["lab"], "xds": "sotw"}}))

    seen = demo("--no-namespaces", str(file))

    assert seen.returncode == 0, seen.stdout + seen.stderr
    assert "the networks are apart by configuration only" in seen.stdout
    assert list(base.iterdir()) == []


def test_a_lab_that_has_no_bookinfo_is_refused(base: Path, tmp_path: Path) -> None:
    (tmp_path / "east").mkdir()
    (tmp_path / "lab.yaml").write_text("config: {clusters: [{name: east, files: east}]}\n")

    seen = demo("--no-namespaces", str(tmp_path / "lab.yaml"))

    assert seen.returncode == 2
    assert "config.clusters: got ['east'], expected two clusters with productpage and reviews in both" in seen.stderr
