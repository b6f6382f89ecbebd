"""steersman remote-secret: by the Secret that it prints a cluster is read and nothing else, and what goes wrong is said with its remedy."""

import asyncio
import base64
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from steersman.model.clusters import ClusterState
from steersman.model.ids import ClusterID
from steersman.settings import Allowed
from steersman.sources.kube.credentials import KubeconfigFile
from steersman.sources.kube.kubeconfig import restricted
from steersman.sources.kube.rights import reading_rules
from steersman.sources.kube.source import KubeSource
from steersman.sources.kube.timing import Timing
from tests.cli.conftest import Ran, inline
from tests.support.apiserver.client import Client, Cluster
from tests.support.apiserver.double import Double
from tests.support.apiserver.following import QUICK
from tests.support.apiserver.kinds import Object
from tests.support.apiserver.tokens import LONGEST
from tests.support.objects import service

SELF = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"


@pytest.fixture
def kubeconfig(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An administrator's, of the test's cluster; the context is called as the double or the real one does."""
    behind = request.getfixturevalue("cluster" if "cluster" in request.fixturenames else "double")
    return written(tmp_path / "admin.kubeconfig", behind.kubeconfig(behind.admin, context="west"))


def written(path: Path, config: Object) -> Path:
    path.write_text(yaml.safe_dump(config))
    return path


async def printed(kubeconfig: Path, *args: str, account: str = "steersman/steersman") -> Ran:
    given = ("--kubeconfig", str(kubeconfig), "--name", "west", "--service-account", account)
    return await inline("remote-secret", *given, *args)


def inside(ran: Ran) -> Any:
    """The kubeconfig in the Secret that was printed."""
    return yaml.safe_load(base64.b64decode(yaml.safe_load(ran.out)["data"]["west"]))


async def test_it_is_istios_secret_with_the_clusters_ca_and_an_accounts_token(cluster: Cluster, kubeconfig: Path, namespace: str) -> None:
    account = f"{namespace}/reader"
    ran = await printed(kubeconfig, "--context", "west", "--create-service-account", account=account)
    assert ran.code == 0, ran.err
    secret = yaml.safe_load(ran.out)
    token = inside(ran)["users"][0]["user"]["token"]
    assert {key: value for key, value in secret.items() if key != "data"} == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "istio-remote-secret-west",
            "namespace": "istio-system",
            "labels": {"istio/multiCluster": "true"},
            "annotations": {"networking.istio.io/cluster": "west"},
        },
    }
    assert inside(ran) == {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "west", "cluster": {"server": cluster.url, "certificate-authority-data": cluster.ca.data}}],
        "contexts": [{"name": "west", "context": {"cluster": "west", "user": "west"}}],
        "current-context": "west",
        "users": [{"name": "west", "user": {"token": token}}],
    }
    taken = restricted(base64.b64decode(secret["data"]["west"]), Allowed())  # as from any Secret, nothing being allowed to it
    assert taken["clusters"][0]["cluster"] == inside(ran)["clusters"][0]["cluster"]
    assert taken["users"][0]["user"] == {"token": token}
    assert f"the token of ServiceAccount {account} expires at 2" in ran.err
    assert "can only be reached from this machine" in ran.err
    assert token not in ran.err
    assert cluster.admin not in ran.err

    again = await printed(kubeconfig, "--create-service-account", "-o", "json", account=account)  # all is there
    assert (again.code, set(json.loads(again.out)["data"])) == (0, {"west"})


async def test_with_what_it_prints_a_cluster_is_read_whole(cluster: Cluster, kubeconfig: Path, namespace: str, tmp_path: Path) -> None:
    cluster.apply(service("web", {"http": (80, 8080)}, namespace=namespace))
    ran = await printed(kubeconfig, "--create-service-account", account=f"{namespace}/reader")
    access = KubeconfigFile(written(tmp_path / "west.kubeconfig", inside(ran)))
    source = KubeSource(ClusterID("west"), access, timing=Timing(**QUICK))
    running = asyncio.create_task(source.run(lambda facts: None))
    try:
        async with asyncio.timeout(30):
            while source.status().state is not ClusterState.SYNCED:  # noqa: ASYNC110 (it has no event to be waited for)
                await asyncio.sleep(0.05)
        assert {resource.name for resource in source.status().resources if resource.objects} >= {"namespaces", "services"}
        assert source.status().uid
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.kube
async def test_its_account_may_do_what_steersman_does_and_nothing_else(real: Any, kubeconfig_of_real: Path, namespace: str) -> None:
    ran = await printed(kubeconfig_of_real, "--create-service-account", account=f"{namespace}/reader")
    real.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "other", "namespace": namespace}})
    other = inside(await printed(kubeconfig_of_real, account=f"{namespace}/other"))
    ours = triples(reading_rules())
    assert await granted(real, inside(ran)) - await granted(real, other) == ours
    async with Client(real, inside(ran)["users"][0]["user"]["token"]) as reader:
        for path in ("/api/v1/secrets", "/api/v1/configmaps", f"/api/v1/namespaces/{namespace}/serviceaccounts", "/api/v1/nodes/x"):
            assert (await reader.get(path)).status == 403
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}}
        assert (await reader.post(f"/api/v1/namespaces/{namespace}/configmaps", made)).status == 403


async def granted(real: Any, config: Any) -> set[tuple[str, str, str]]:
    """What the API server says that this user may do."""
    async with Client(real, config["users"][0]["user"]["token"]) as user:
        asked = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "kube-system"}}
        may = (await user.post(SELF, asked)).json["status"]
    assert not may["incomplete"]
    return triples(may["resourceRules"])


def triples(rules: Any) -> set[tuple[str, str, str]]:
    """(API group, resource, verb)."""
    return {
        (group, resource, verb) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]
    }


@pytest.fixture
def kubeconfig_of_real(real: Any, tmp_path: Path) -> Path:
    return written(tmp_path / "real.kubeconfig", real.kubeconfig(real.admin))


# -- what goes wrong --------------------------------------------------------------------------------------------------------------


async def test_without_the_account_it_says_what_to_apply_and_writes_nothing(cluster: Cluster, kubeconfig: Path, namespace: str) -> None:
    ran = await printed(kubeconfig, "--context", "west", account=f"{namespace}/reader")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        f"steersman: {cluster.url} (context west of {kubeconfig}): it has no ServiceAccount {namespace}/reader. Make it with its rights by "
        "--create-service-account, or by `kubectl apply -f config/kubernetes/rbac.yaml` in that cluster\n"
    )
    async with Client(cluster, cluster.admin) as client:
        assert (await client.get(f"/api/v1/namespaces/{namespace}")).status == 404


async def test_who_may_not_make_a_token_or_an_account_is_told_so(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    if isinstance(cluster, Double):
        cluster.forbid("serviceaccounts/token", "create")
        cluster.forbid("namespaces", "create")
    reader = written(tmp_path / "reader.kubeconfig", cluster.kubeconfig())
    ran = await printed(reader, account=f"{namespace}/reader")
    assert (ran.code, ran.out) == (1, "")
    assert f"a token of ServiceAccount {namespace}/reader is refused (403: " in ran.err
    assert f"Use a context that may create serviceaccounts/token in namespace {namespace}" in ran.err
    ran = await printed(reader, "--create-service-account", account=f"{namespace}/reader")
    assert (ran.code, ran.out) == (1, "")
    assert f"making Namespace {namespace} is refused (403: " in ran.err
    assert "have an administrator apply config/kubernetes/rbac.yaml there" in ran.err
    assert cluster.token not in ran.err


async def test_credentials_that_are_nobodys_are_told_without_them(cluster: Cluster, tmp_path: Path) -> None:
    ran = await printed(written(tmp_path / "stranger.kubeconfig", cluster.kubeconfig("the-secret")))
    assert (ran.code, ran.out) == (1, "")
    assert "it takes these credentials for nobody's (401: Unauthorized). Log in again, or name another --context" in ran.err
    assert "the-secret" not in ran.err


async def test_an_api_server_that_is_not_there_is_told_with_its_address(double: Double, kubeconfig: Path) -> None:
    double.stop()
    ran = await printed(kubeconfig)
    assert (ran.code, ran.out) == (1, "")
    assert f"{double.url} (the current context of {kubeconfig}): no connection to {double.address}:{double.port}: " in ran.err
    assert "See whether the API server runs and can be reached from here" in ran.err


async def test_an_account_that_may_not_read_gives_a_secret_and_says_what_it_lacks(double: Double, kubeconfig: Path) -> None:
    double.forbid("pods", "list")
    double.forbid("gateways", "list")
    ran = await printed(kubeconfig, "--create-service-account")
    assert ran.code == 1
    assert "ServiceAccount steersman/steersman may not read pods, gateways.networking.istio.io there" in ran.err
    assert "`kubectl apply -f config/kubernetes/rbac.yaml`" in ran.err
    assert inside(ran)["users"][0]["user"]["token"]


async def test_what_the_api_server_granted_is_said_not_what_was_asked_for(double: Double, kubeconfig: Path) -> None:
    ran = await printed(kubeconfig, "--create-service-account", "--duration", "100000000h")
    granted = dt.datetime.fromisoformat(ran.err.partition("expires at ")[2].partition(";")[0]) - dt.datetime.now(dt.UTC)
    assert abs(granted.total_seconds() - LONGEST) < 300


async def test_a_server_that_steersman_reaches_otherwise_stands_in_the_secret_alone(double: Double, tmp_path: Path) -> None:
    config = double.kubeconfig()
    config["clusters"][0]["cluster"]["tls-server-name"] = double.address
    (tmp_path / "ca.pem").write_bytes(double.ca.pem)
    del config["clusters"][0]["cluster"]["certificate-authority-data"]
    config["clusters"][0]["cluster"]["certificate-authority"] = "ca.pem"
    ran = await printed(written(tmp_path / "admin", config), "--create-service-account", "--server", "https://west.example:6443/")
    assert ran.code == 0
    assert inside(ran)["clusters"][0]["cluster"] == {
        "server": "https://west.example:6443",
        "certificate-authority-data": double.ca.data,
        "tls-server-name": double.address,
    }
    assert "only be reached from this machine" not in ran.err


async def test_the_kubeconfigs_of_the_environment_are_one(double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for kubectl: the first that names something counts, files that aren't there don't, and paths are relative to their own file."""
    config = double.kubeconfig(context="west")
    (tmp_path / "clusters").mkdir()
    (tmp_path / "clusters" / "ca.pem").write_bytes(double.ca.pem)
    cluster = {"server": double.url, "certificate-authority": "ca.pem"}
    first = written(tmp_path / "contexts", {"contexts": config["contexts"], "users": config["users"], "clusters": None})
    other = [{"name": "west", "user": {"token": "the-secret"}}]
    second = written(tmp_path / "clusters" / "config", {"clusters": [{"name": "west", "cluster": cluster}], "users": other})
    monkeypatch.setenv("KUBECONFIG", f"{first}:{tmp_path / 'absent'}:{second}")
    ran = await inline("remote-secret", "--name", "west", "--context", "west", "--create-service-account")
    assert (ran.code, inside(ran)["clusters"][0]["cluster"]["certificate-authority-data"]) == (0, double.ca.data)
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'absent'}:{tmp_path / 'gone'}")
    ran = await inline("remote-secret", "--name", "west")
    assert (ran.code, ran.err) == (2, f"steersman: {tmp_path / 'absent'}:{tmp_path / 'gone'}: none of them is there\n")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--context", "east"), "it has no context 'east'; there are: west"),
        (("--kubeconfig", "/nowhere"), "/nowhere: it can't be read: No such file or directory"),
        (("--name", "a:b"), "--name: got 'a:b', expected letters, digits, '-', '_' and '.', as it is the key of a Secret"),
        (("--name", "dns"), "--name: got 'dns', expected a name other than"),
        (("--namespace", "Istio"), "--namespace: got 'Istio', expected a name of lower-case letters"),
        (("--server", "west:6443"), "--server: got 'west:6443', expected a URL such as https://192.0.2.1:6443"),
        (("--service-account", "steersman"), "--service-account: got 'steersman', expected NAMESPACE/NAME"),
        (("--duration", "1y"), "--duration: got '1y', expected a duration such as"),
        (("--duration", "5m"), "--duration: got '5m', expected at least 10m"),
    ],
)
async def test_wrong_use_is_told_before_anybody_is_asked(double: Double, kubeconfig: Path, args: tuple[str, ...], words: str) -> None:
    ran = await printed(kubeconfig, *args)
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err
    assert not double.requests()


async def test_a_token_is_not_sent_to_whoever_answers(double: Double, tmp_path: Path) -> None:
    config = double.kubeconfig()
    config["clusters"][0]["cluster"] = {"server": double.url, "insecure-skip-tls-verify": True}
    ran = await printed(written(tmp_path / "careless", config))
    assert (ran.code, ran.out) == (2, "")
    assert "insecure-skip-tls-verify" in ran.err
    assert "give the cluster's certificate-authority instead" in ran.err
    assert not double.requests()
