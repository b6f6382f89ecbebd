"""What a cluster's administrator is asked to allow is what is read, and no more."""

from pathlib import Path

import yaml

from steersman.sources.kube.resources import RESOURCES

ROOT = Path(__file__).resolve().parents[3]


def test_the_role_allows_what_is_read_and_no_more() -> None:
    (role,) = [
        one for one in yaml.safe_load_all((ROOT / "config" / "kubernetes" / "rbac.yaml").read_text()) if one["kind"] == "ClusterRole"
    ]
    allowed = {(group, plural) for rule in role["rules"] for group in rule["apiGroups"] for plural in rule["resources"]}
    assert allowed == {(resource.group, resource.plural) for resource in RESOURCES}
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
