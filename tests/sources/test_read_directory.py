"""A directory read at once: what counts as a file, what files say together, and that whatever is wrong costs only itself."""

import os
from pathlib import Path

import pytest

from steersman.model.facts import Finding, Origin, Severity, Synced
from steersman.model.ids import ClusterID, ObjectKey
from steersman.model.objects import Kind
from steersman.settings import parse_settings
from steersman.sources.files import directories_of, read_directory
from steersman.sources.filesystem import LARGEST
from tests.sources.listening import Listener
from tests.sources.manifests import as_json, documents, listed, pod

EAST = ClusterID("east")


def heard(path: Path) -> Listener:
    """What stands after reading the directory; Synced comes once, and last."""
    facts = read_directory(EAST, path, clock=lambda: 7.0)
    listener = Listener()
    listener.apply(facts)
    assert facts[-1] == Synced(source="east")
    assert listener.synced == ["east"]
    return listener


def test_files_are_found_by_their_suffix_in_all_directories_but_hidden_ones(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "a.yaml").write_text(documents(pod("yaml-1"), pod("yaml-2")))
    (tmp_path / "deep" / "b.yml").write_text(listed(pod("yml-1"), pod("yml-2")))
    (tmp_path / "deep" / "er" / "c.JSON").write_text(as_json(pod("json-1"), pod("json-2")))
    for name in (".hidden/d.yaml", ".e.yaml", "f.txt", "yaml", "g.yaml.tmp", "h.yaml~"):
        (tmp_path / name).write_text(documents(pod("never")))
    assert heard(tmp_path).names(Kind.POD) == ["json-1", "json-2", "yaml-1", "yaml-2", "yml-1", "yml-2"]


def test_an_object_says_where_it_came_from(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# first\n" + documents(pod("a", uid="u", resourceVersion="5"), pod("b")))
    origins = heard(tmp_path).origins
    place = f"{tmp_path}/a.yaml"
    assert origins[Kind.POD, ObjectKey(EAST, "ns", "a")] == Origin(
        source="east", place=f"{place}:2", uid="u", resource_version="5", seen=7.0
    )
    assert origins[Kind.POD, ObjectKey(EAST, "ns", "b")].place == f"{place}:13"


def test_a_volume_of_a_config_map_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "a.yaml").write_text(documents(pod("a")))
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    listener = heard(tmp_path)
    assert (listener.names(Kind.POD), listener.findings()) == (["a"], [])


def test_links_to_directories_are_followed_each_directory_once(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "one").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.yaml").write_text(documents(pod("a")))
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "one" / "up").symlink_to(root)
    (root / "one" / "same").symlink_to(tmp_path / "outside")
    listener = heard(root)
    assert (listener.names(Kind.POD), listener.findings()) == (["a"], [])


def test_objects_of_unknown_kinds_are_counted_and_ignored(tmp_path: Path) -> None:
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
    (tmp_path / "a.yaml").write_text(documents(deployment, pod("a"), deployment, {"apiVersion": "v2", "kind": "Pod"}))
    listener = heard(tmp_path)
    assert listener.names(Kind.POD) == ["a"]
    deployments, pods = sorted(listener.findings(), key=lambda finding: finding.object)
    assert (deployments.id, deployments.severity, deployments.object) == ("kind-ignored", Severity.INFO, "apps/v1 Deployment")
    assert deployments.cause.startswith("2 objects of this kind in east")
    assert (pods.severity, pods.remedy) == (Severity.WARNING, "write Pod as v1")


@pytest.mark.parametrize("order", [1, -1])
def test_an_object_in_two_files_is_that_of_the_oldest_then_of_the_first_path(tmp_path: Path, order: int) -> None:
    names = ["b/young.yaml", "c/old.yaml", "d/same.yaml"][::order]
    for name in names:
        (tmp_path / name).parent.mkdir()
        created = "2026-01-02T00:00:00Z" if "young" in name else "2026-01-01T00:00:00Z"
        (tmp_path / name).write_text(documents(pod("a", ip=f"10.0.0.{len(name)}", created=created)))
    listener = heard(tmp_path)
    key = ObjectKey(EAST, "ns", "a")
    assert listener.origins[Kind.POD, key].place == f"{tmp_path}/c/old.yaml:1"
    young, same = listener.findings()
    assert (young.id, young.object, young.place) == ("duplicate-object", "Pod east/ns/a", f"{tmp_path}/b/young.yaml:1")
    assert young.cause == f"{tmp_path}/c/old.yaml:1 defines it as well and is older, so this one is not used"
    assert "comes first" in same.cause


def test_an_object_twice_in_one_file_is_the_first(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(as_json(pod("a", ip="10.0.0.2"), pod("a", ip="10.0.0.1")))
    listener = heard(tmp_path)
    assert listener.values[Kind.POD, ObjectKey(EAST, "ns", "a")].ips == ("10.0.0.2",)
    assert listener.finding_ids() == ["duplicate-object"]


def test_a_mistake_in_an_object_is_told_with_its_line_and_costs_only_the_object(tmp_path: Path) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": "x"}]}}
    (tmp_path / "a.yaml").write_text(documents(pod("a"), service, pod("b", ip="nope")))
    listener = heard(tmp_path)
    assert listener.names(Kind.POD) == ["a", "b"]
    assert listener.names(Kind.SERVICE) == []
    invalid, bad = listener.findings()
    assert (invalid.id, invalid.object, invalid.place) == ("invalid-object", "Service east/?/s".replace("?/", ""), f"{tmp_path}/a.yaml:10")
    assert invalid.cause == "spec.ports[0].port: expected `int`, got `str`; the object is left out"
    assert (bad.id, bad.object, bad.place) == ("bad-address", "Pod east/ns/b", f"{tmp_path}/a.yaml:18")


def broken(path: Path, finding: str, cause: str, line: int | None = None) -> None:
    """Beside a good file, this one is reported by this finding, and nothing else comes of it."""
    listener = heard(path.parent)
    assert listener.names(Kind.POD) == ["good"]
    (found,) = listener.findings()
    assert found == Finding(
        id=finding,
        severity=Severity.ERROR,
        object=str(path),
        place=str(path) if line is None else f"{path}:{line}",
        cause=found.cause,
        remedy=found.remedy,
    )
    assert cause in found.cause
    assert found.remedy


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A directory with one good file."""
    (tmp_path / "good.yaml").write_text(documents(pod("good")))
    return tmp_path


def test_broken_files_cost_only_themselves(good: Path) -> None:
    path = good / "bad.yaml"
    path.write_text(documents(pod("never")) + "---\nkind: [\n")
    broken(path, "file-unparsable", "did not find expected node content", 10)
    path.write_bytes(b"a: 1\nb: \xff\n")
    broken(path, "file-unparsable", "0xff is not UTF-8", 2)
    path.unlink()
    path = good / "bad.json"
    path.write_text(as_json(pod("never"), pod("never"))[:-20])
    broken(path, "file-unparsable", "ends too early", 31)


def test_what_is_no_file_is_told_and_not_waited_for(good: Path) -> None:
    path = good / "bad.yaml"
    os.mkfifo(path)
    broken(path, "file-unreadable", "not a regular file")
    path.unlink()
    path.symlink_to("nowhere")
    broken(path, "file-unreadable", "No such file")
    path.unlink()
    path.symlink_to("bad.yaml")
    broken(path, "file-unreadable", "symbolic links")


def test_a_huge_file_is_not_read(good: Path) -> None:
    path = good / "bad.yaml"
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)
    broken(path, "file-too-large", f"it has {LARGEST + 1} bytes, more than {LARGEST}")


def test_a_file_whose_reading_fails_is_told(good: Path) -> None:
    path = good / "bad.yaml"
    path.symlink_to("/proc/self/mem")
    broken(path, "file-unreadable", "it can't be read: Input/output error")


def test_a_file_named_in_no_known_encoding_is_read(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.yaml")).write_text(documents(pod("a"), pod("b", ip="x")))
    listener = heard(tmp_path)
    assert listener.names(Kind.POD) == ["a", "b"]
    assert listener.findings()[0].place.encode().endswith("/\N{REPLACEMENT CHARACTER}.yaml:10".encode())


@pytest.mark.parametrize("what", ["missing", "file"])
def test_a_missing_directory_is_a_finding(tmp_path: Path, what: str) -> None:
    (tmp_path / "file").touch()
    (found,) = heard(tmp_path / what).findings()
    assert (found.id, found.severity, found.place) == ("directory-missing", Severity.ERROR, str(tmp_path / what))


def test_only_clusters_of_files_have_a_directory(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    text = "clusters: [{name: east, files: .}, {name: west, kubernetes: {kubeconfig: x, context: y}}]"
    assert directories_of(parse_settings(text, tmp_path / "mesh.yaml")) == {"east": tmp_path}
