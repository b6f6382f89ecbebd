"""The lab file is read as strictly as the configuration: what is wrong is told with file, path, value and what was expected."""

from pathlib import Path

import pytest
import yaml

from steersman.errors import ConfigError
from steersman.lab.labfile import find_lab, read_lab
from steersman.lab.manifests import read_manifests
from steersman.model.ids import ClusterID
from steersman.server.bootstrap import Mode
from steersman.settings import ConfigErrors
from tests.lab.files import TWO_NETWORKS, pod, service, write_lab


def test_the_lab_that_comes_with_steersman_is_found_by_name_and_reads() -> None:
    lab = read_lab(find_lab(None))

    assert lab.path.samefile(TWO_NETWORKS)
    assert [(cluster.name, cluster.network) for cluster in lab.clusters] == [("east", "network-east"), ("west", "network-west")]
    assert lab.ranges(lab.networks[0]) == lab.ranges(lab.networks[1]), "both networks are meant to use the same addresses"
    assert lab.ground.xds is Mode.DELTA
    assert find_lab("two-networks") == find_lab(None)


def test_an_unknown_lab_is_refused_with_the_names_of_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml: got None, expected a lab file.*two-networks"):
        find_lab("nothing.yaml")


def test_the_configuration_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "config" / "east").mkdir(parents=True)
    (tmp_path / "config" / "steersman.yaml").write_text(yaml.safe_dump({"clusters": [{"name": "east", "files": "east"}]}))
    (tmp_path / "lab.yaml").write_text("config: config/steersman.yaml\n")

    lab = read_lab(tmp_path / "lab.yaml")

    assert lab.clusters[0].manifests == tmp_path / "config" / "east"
    assert (lab.clusters[0].network, lab.clusters[0].configured) == ("east", ""), "a cluster without a network has one of its own"


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"lab": {"nets": {}}}, "lab.nets: got {}, expected a known key, one of forward, management, networks, wan, xds"),
        ({"lab": {"forward": [{"port": "x", "to": "y"}]}}, "lab.forward[0].port: got 'x', expected a port, 1 to 65535"),
        ({"lab": {"forward": [{"to": "y"}]}}, "lab.forward[0].port: got None, expected a port"),
        ({"lab": {"xds": "rest"}}, "lab.xds: got 'rest', expected one of delta, sotw"),
        ({"lab": {"wan": "192.0.2.1/24"}}, "lab.wan: got '192.0.2.1/24', expected an IPv4 range"),
        ({"lab": {"wan": "192.0.2.0/30"}}, "lab.wan: got '192.0.2.0/30', expected a range of at least 16"),
        ({"lab": {"networks": {"north": {}}}}, "lab.networks.north: got 'north', expected a network of a cluster: network-east"),
        ({"lab": {"networks": {"network-east": {"pods": "east"}}}}, "lab.networks.network-east.pods: got 'east', expected an IPv4 range"),
        ({"config": None}, "config: got None, expected"),
        ({"config": {"clusters": []}}, "config.clusters: got [], expected a list of at least one cluster"),
        ({"config": {"cluster": []}}, "config.cluster: got [], expected a known key"),
        ({"more": 1}, "more: got 1, expected a known key, one of config, lab"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(section: dict[str, object], said: str, tmp_path: Path) -> None:
    file = write_lab(tmp_path, {"east": []})
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | section))

    with pytest.raises(ConfigError) as wrong:
        read_lab(file)

    assert f"{file}: {said}" in str(wrong.value)


def test_all_that_is_wrong_is_told_at_once_and_a_key_that_stands_twice_is(tmp_path: Path) -> None:
    file = write_lab(tmp_path, {"east": []})
    sound = file.read_text()
    file.write_text(yaml.safe_dump({"config": {"mesh": {"domain": 7}}, "lab": {"wan": "here", "xsd": "delta"}}))

    with pytest.raises(ConfigErrors) as wrong:
        read_lab(file)

    assert [error.path for error in wrong.value.errors] == ["config.mesh.domain", "config.clusters", "lab.wan", "lab.xsd"]
    assert "did you mean xds?" in wrong.value.errors[-1].expected
    file.write_text(sound + "lab: {}\n")
    with pytest.raises(ConfigError, match="the key 'lab' stands twice in one mapping"):
        read_lab(file)


def test_a_cluster_of_a_real_api_server_can_not_be_run(tmp_path: Path) -> None:
    (tmp_path / "east.kubeconfig").write_text("{}")
    file = tmp_path / "lab.yaml"
    file.write_text(yaml.safe_dump({"config": {"clusters": [{"name": "east", "kubernetes": {"kubeconfig": "east.kubeconfig"}}]}}))

    with pytest.raises(ConfigError, match=r"clusters\[0\]: got 'east', expected files: the directory of the manifests"):
        read_lab(file)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("a: [", "expected YAML or JSON"),
        ("kind: Pod\n", "expected a Kubernetes object with kind and metadata.name"),
        ("kind: Service\nmetadata: {name: a}\n", "Service a.spec: got None, expected a mapping"),
        (yaml.safe_dump_all([service("a"), service("a")]), "Service east/default/a: got 'a second one', expected one"),
    ],
)
def test_a_manifest_that_can_not_be_read_is_named_with_what_is_wrong(manifest: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(manifest)

    with pytest.raises(ConfigError) as wrong:
        read_manifests(ClusterID("east"), tmp_path)

    assert str(tmp_path / "broken.yaml") in str(wrong.value)
    assert said in str(wrong.value)


def test_manifests_may_be_lists_and_json_and_lie_in_directories_below(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "list.yml").write_text(yaml.safe_dump({"kind": "List", "items": [pod("one"), service("one")]}))
    (tmp_path / "two.json").write_text('{"kind": "Namespace", "metadata": {"name": "two"}}')
    (tmp_path / "ignored.txt").write_text("no manifest")

    found = read_manifests(ClusterID("east"), tmp_path)

    assert [(one["kind"], str(found.key(one))) for one in found.objects] == [
        ("Pod", "east/default/one"),
        ("Service", "east/default/one"),
        ("Namespace", "east/two"),
    ]
