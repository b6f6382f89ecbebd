"""What a cluster's administrator is asked to allow is what is done, and no more."""

from pathlib import Path
from typing import Any

import yaml

from steersman.sources.kube.credentials import KubeconfigFile
from steersman.sources.kube.rights import READER, account_objects
from steersman.sources.kube.source import KubeSource
from tests.sources.kube.test_source import EAST, TIMING, followed, source_of, written
from tests.support.apiserver.double import Double
from tests.support.apiserver.kinds import definition_of

ROOT = Path(__file__).resolve().parents[3]


def manifests(name: str) -> list[Any]:
    return list(yaml.safe_load_all((ROOT / "config" / "kubernetes" / name).read_text()))


def test_what_remote_secret_makes_is_what_the_file_has() -> None:
    assert manifests("rbac.yaml") == list(account_objects(READER))


async def test_every_right_is_used_and_no_other_is_needed(double: Double, tmp_path: Path) -> None:
    """By what is asked of a server with WatchList, and of one without."""
    double.apply(definition_of("networking.istio.io", ("v1",), "gateways", "Gateway"))
    for watch_list in (True, False):
        double.manners.watch_list = watch_list
        async with followed(source_of(written(tmp_path / "kubeconfig", double))):
            pass
    (role,) = [one for one in manifests("rbac.yaml") if one["kind"] == "ClusterRole"]
    allowed = {(verb, plural) for rule in role["rules"] for plural in rule["resources"] for verb in rule["verbs"]}
    assert {(one.verb, one.resource) for one in double.requests() if one.verb != "discover"} == allowed


async def test_secrets_are_asked_for_in_one_namespace_with_one_label_and_only_when_asked_for(double: Double, tmp_path: Path) -> None:
    path = written(tmp_path / "kubeconfig", double)
    async with followed(source_of(path)):
        assert double.requests(resource="secrets") == []
    for watch_list in (True, False):
        double.manners.watch_list = watch_list
        async with followed(KubeSource(EAST, KubeconfigFile(path), timing=TIMING, secrets="istio-system")):
            pass
    asked = double.requests(resource="secrets")
    assert {(one.path, one.query.get("labelSelector")) for one in asked} == {
        ("/api/v1/namespaces/istio-system/secrets", "istio/multiCluster=true")
    }
    (role,) = [one for one in manifests("remote-secrets.yaml") if one["kind"] == "Role"]
    assert role["metadata"]["namespace"] == "istio-system"
    assert [(rule["resources"], set(rule["verbs"])) for rule in role["rules"]] == [(["secrets"], {one.verb for one in asked})]
