"""The section remoteClusters: what it means, and what in it is refused."""

import pytest

from steersman.model.clusters import OutagePolicy
from steersman.settings import Allowed, OutageSettings, RemoteClusterSettings, parse_settings
from tests.settings.test_settings import FILE, ROOT, refused

EAST = "clusters: [{name: east, kubernetes: {inCluster: true}}, {name: files, files: .}]\n"


def parsed(section: str) -> RemoteClusterSettings:
    return parse_settings(f"{EAST}remoteClusters: {section}", FILE).remote_clusters


def test_without_the_section_there_are_none_and_nothing_is_allowed() -> None:
    settings = parse_settings(EAST, FILE).remote_clusters
    assert settings == RemoteClusterSettings()
    assert not settings.asked_for
    assert settings.allow == Allowed()


def test_a_directory_is_relative_to_the_file_and_one_holder_needs_no_list() -> None:
    settings = parse_settings(
        "clusters: [{name: a, kubernetes: {inCluster: true}}]\nremoteClusters: {kubeconfigs: config, secrets: a}", ROOT / "x"
    )
    assert settings.remote_clusters.kubeconfigs == ROOT / "config"
    assert settings.remote_clusters.secrets == ("a",)
    assert parsed("{secrets: [east, east]}").secrets == ("east",)


def test_its_outage_policy_is_that_of_all_clusters_unless_it_has_its_own() -> None:
    text = EAST + "outage: {policy: demote, after: 5m}\nremoteClusters: {secrets: east, outage: {after: 9s}, syncTimeout: 3s}"
    settings = parse_settings(text, FILE).remote_clusters
    assert settings.outage == OutageSettings(policy=OutagePolicy.DEMOTE, after=9.0)
    assert settings.sync_timeout == 3.0


def test_what_is_allowed_is_allowed_by_name() -> None:
    allow = "{exec: [aws], execEnv: [AWS_PROFILE], files: [/var/token], authProviders: [oidc], insecureServers: true}"
    assert parsed(f"{{secrets: east, allow: {allow}}}").allow == Allowed(
        exec=frozenset({"aws"}),
        exec_env=frozenset({"AWS_PROFILE"}),
        files=frozenset({"/var/token"}),
        auth_providers=frozenset({"oidc"}),
        insecure_servers=True,
    )


@pytest.mark.parametrize(
    ("section", "path", "value", "expected"),
    [
        ("5", "remoteClusters", 5, "a mapping"),
        ("{}", "remoteClusters", {}, "kubeconfigs, a directory, or secrets"),
        ("{syncTimeout: 5s}", "remoteClusters", {"syncTimeout": "5s"}, "kubeconfigs, a directory, or secrets"),
        ("{kubeconfigs: missing}", "remoteClusters.kubeconfigs", "missing", "an existing directory"),
        ("{secrets: files}", "remoteClusters.secrets", "files", "a cluster with kubernetes:, or a list of such names (east)"),
        ("{secrets: []}", "remoteClusters.secrets", [], "a cluster with kubernetes:"),
        ("{secrets: [east, 5]}", "remoteClusters.secrets", ["east", 5], "a cluster with kubernetes:"),
        ("{secrets: east, secret: east}", "remoteClusters.secret", "east", "did you mean secrets?"),
        ("{secrets: east, outage: {policy: x}}", "remoteClusters.outage.policy", "x", "one of keep, demote, drop"),
        ("{secrets: east, allow: {exec: aws}}", "remoteClusters.allow.exec", "aws", "a list of commands"),
        ("{secrets: east, allow: {exec: [./aws]}}", "remoteClusters.allow.exec", ["./aws"], "found by PATH, or an absolute path"),
        ("{secrets: east, allow: {files: [token]}}", "remoteClusters.allow.files", ["token"], "absolute paths"),
        (
            "{secrets: east, allow: {authProviders: [gcp]}}",
            "remoteClusters.allow.authProviders",
            ["gcp"],
            "oidc (the others run programs: see exec)",
        ),
        ("{secrets: east, allow: {all: true}}", "remoteClusters.allow.all", True, "a known key"),
        ("{secrets: east, allow: {insecureServers: 1}}", "remoteClusters.allow.insecureServers", 1, "true or false"),
    ],
)
def test_what_is_wrong_is_refused_by_its_path(section: str, path: str, value: object, expected: str) -> None:
    ((at, found, told),) = refused(f"{EAST}remoteClusters: {section}")
    assert (at, found) == (path, value)
    assert expected in told


def test_without_a_cluster_that_is_read_from_its_api_nobody_can_hold_secrets() -> None:
    ((at, _, told),) = refused("clusters: [{name: a, files: .}]\nremoteClusters: {secrets: a}")
    assert at == "remoteClusters.secrets"
    assert "there is none" in told
