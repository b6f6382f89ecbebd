"""What is in config/kubernetes/ is what an API server takes, also where Pods are restricted, and what the image and the server are."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from steersman.admin.page import PAGES
from steersman.settings import parse_settings
from steersman.sources.kube.resources import RESOURCES
from tests.support.apiserver.real import Real
from tests.support.live import eventually

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "config" / "kubernetes"
FILES = sorted(KUBERNETES.rglob("*.yaml"), key=lambda path: (path.name != "rbac.yaml", path))


def of_kind(kind: str, *files: Path) -> list[Any]:
    return [one for file in files or FILES for one in yaml.safe_load_all(file.read_text()) if one["kind"] == kind]


def pod() -> Any:
    """The Deployment's."""
    (deployment,) = of_kind("Deployment")
    return deployment["spec"]["template"]


@pytest.mark.kube
def test_every_manifest_is_taken_by_an_api_server(real: Real) -> None:
    for namespace in sorted(
        {one["metadata"]["namespace"] for file in FILES for one in yaml.safe_load_all(file.read_text()) if "namespace" in one["metadata"]}
    ):
        real.make_namespace(namespace)
    for file in FILES:
        real.kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", f"--filename={file}")


@pytest.mark.kube
def test_its_pods_run_where_pods_are_restricted(real: Real, namespace: str) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    real.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    made = {"apiVersion": "v1", "kind": "Pod", **pod(), "metadata": {"name": "steersman", "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    real.expect("POST", path, made)
    made["spec"]["containers"][0]["securityContext"] = {}
    assert real.ask("POST", path, made)[0] == 403


@pytest.mark.kube
def test_the_definition_takes_gateways_in_every_version_that_is_read_and_refuses_nonsense(real: Real, namespace: str) -> None:
    """In a group of its own, as other tests define Istio's."""
    (definition,) = of_kind("CustomResourceDefinition")
    (read,) = [resource for resource in RESOURCES if definition["metadata"]["name"] == resource.name]
    group = f"{namespace}.example.com"
    text = json.dumps(definition).replace("networking.istio.io", group)
    real.make_namespace(namespace)
    real.expect("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json.loads(text))
    eventually(lambda: all(real.ask("GET", f"/apis/{group}/{version}/gateways")[0] == 200 for version in read.versions))
    assert tuple(version["name"] for version in definition["spec"]["versions"]) == read.versions
    server = {"port": {"number": 15443, "protocol": "TLS"}, "hosts": ["*.local"], "tls": {"mode": "AUTO_PASSTHROUGH"}}
    for version in read.versions:
        spec = {"selector": {"istio": "eastwestgateway"}, "servers": [server]}
        gateway: Any = {
            "apiVersion": f"{group}/{version}",
            "kind": "Gateway",
            "metadata": {"name": version, "namespace": namespace},
            "spec": spec,
        }
        real.expect("POST", f"/apis/{group}/{version}/namespaces/{namespace}/gateways", gateway)
        gateway["metadata"]["name"] = "other"
        gateway["spec"]["servers"] = [{**server, "port": {"number": 99999, "protocol": "TLS"}}]
        assert real.ask("POST", f"/apis/{group}/{version}/namespaces/{namespace}/gateways", gateway)[0] == 422


def test_the_configuration_is_one_and_its_addresses_are_the_pods() -> None:
    (configuration,) = of_kind("ConfigMap")
    (container,) = pod()["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    (file,) = configuration["data"]
    settings = parse_settings(configuration["data"][file], Path(mounts["configuration"]) / file)
    assert container["args"] == ["serve", "-c", str(settings.file)]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc-xds": settings.server.xds.address.port, "http-admin": settings.server.admin.address.port}
    assert settings.ca.directory.is_relative_to(mounts["state"])
    assert settings.warm_start.directory == Path(mounts["warm"])
    (source,) = settings.clusters
    assert source.kubernetes is not None
    assert source.kubernetes.in_cluster
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in {path for path, _ in PAGES}


def test_the_image_is_what_the_pods_run() -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    (container,) = pod()["spec"]["containers"]
    copied = [word for line in re.findall(r"^COPY (?!--)(.*) \S+$", dockerfile, re.MULTILINE) for word in line.split()]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    ignored = (ROOT / "docker" / "Dockerfile.dockerignore").read_text().split()
    assert {name.removeprefix("!") for name in ignored if name.startswith("!")} == set(copied)
    assert f"USER {pod()['spec']['securityContext']['runAsUser']}:{pod()['spec']['securityContext']['runAsGroup']}" in dockerfile
    (command,) = re.findall(r'^ENTRYPOINT \["(.*)"\]$', dockerfile, re.MULTILINE)
    assert command in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (arguments,) = re.findall(r"^CMD (.*)$", dockerfile, re.MULTILINE)
    assert json.loads(arguments) == container["args"]
