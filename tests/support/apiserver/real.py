"""The real kube-apiserver with its etcd, where they are to be had ($KUBEBUILDER_ASSETS)."""

import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from steersman.sources.kube.rights import reading_rules
from tests.support.apiserver.double import ADDRESS, kubeconfig
from tests.support.apiserver.kinds import AUTHORITY, BUILT_IN, DEFINITIONS, Object, Resource, defined_by
from tests.support.apiserver.tls import ClusterCA
from tests.support.running import free_port

PROGRAMS = ("etcd", "kube-apiserver")
ADMIN = "the-administrator"
PATIENCE = 60.0
"""Seconds in which the API server has to come up, on the slowest of machines."""
ACCOUNT = "steersman"
READ = ("get", "list", "watch")


def found_assets() -> Path | None:
    """The directory of the programs, where they are all there."""
    directory = Path(os.environ.get("KUBEBUILDER_ASSETS") or "nowhere")
    return directory if all(os.access(directory / program, os.X_OK) for program in PROGRAMS) else None


def assets() -> Path:
    """That directory. Skips the test, loudly and counted, where there is none."""
    directory = found_assets()
    if directory is None:
        pytest.skip("no real kube-apiserver and etcd in $KUBEBUILDER_ASSETS; `make kube-assets` obtains them, or says what is missing")
    return directory


class Real:
    """A running API server, of which the same can be asked and done as of the double. Its address stays the same over restarts.

    Its clients are a ServiceAccount that may do with what Steersman reads what `config/kubernetes/rbac.yaml` grants, until it is forbidden.
    """

    def __init__(self, directory: Path, address: str = ADDRESS) -> None:
        self.address, self.directory = address, directory
        self.ca = ClusterCA()
        self.port = free_port(address)
        self.token = ""
        self._assets = assets()
        self._etcd_port, self._peer_port = free_port(address), free_port(address)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._resources = {resource.kind: resource for resource in (*BUILT_IN, *AUTHORITY)}
        self.admin = ADMIN
        self._forbidden: set[tuple[str, str]] = set()
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "ca.crt").write_bytes(self.ca.pem)
        self._certificate, self._key = self.ca.files(address, directory)
        (directory / "tokens.csv").write_text(f"{ADMIN},admin,admin,system:masters\n")
        accounts = ec.generate_private_key(ec.SECP256R1())
        (directory / "accounts.key").write_bytes(
            accounts.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
        )

    def __enter__(self) -> Self:
        try:
            self._start_etcd()
            self.start()
            self._introduce()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(PROGRAMS):
            self._kill(name)

    # -- the processes --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """The API server; ready when this returns."""
        keys = self.directory / "accounts.key"
        self._run(
            "kube-apiserver",
            f"--etcd-servers=http://{self.address}:{self._etcd_port}",
            f"--bind-address={self.address}",
            "--advertise-address=192.0.2.1",  # of nobody: it takes none of loopback, and can't find one where there is no route
            "--endpoint-reconciler-type=none",
            f"--secure-port={self.port}",
            f"--tls-cert-file={self._certificate}",
            f"--tls-private-key-file={self._key}",
            f"--cert-dir={self.directory}",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/12",
            f"--service-account-issuer=https://{self.address}",
            f"--service-account-key-file={keys}",
            f"--service-account-signing-key-file={keys}",
            "--disable-admission-plugins=ServiceAccount",
        )
        deadline = time.monotonic() + PATIENCE
        while not self._ready():
            ended = self._processes["kube-apiserver"].poll()
            assert ended is None, f"kube-apiserver ended with {ended}:\n{self._said('kube-apiserver')}"
            assert time.monotonic() < deadline, f"kube-apiserver isn't ready after {PATIENCE:g} s:\n{self._said('kube-apiserver')}"
            time.sleep(0.1)

    def stop(self) -> None:
        """The API server, by SIGKILL."""
        self._kill("kube-apiserver")

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        self._processes["kube-apiserver"].send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._processes["kube-apiserver"].send_signal(signal.SIGCONT)

    def compact(self) -> None:
        """etcd forgets all but what is there now."""
        status = self._etcd("/v3/maintenance/status")
        self._etcd("/v3/kv/compaction", revision=status["header"]["revision"], physical=True)

    def replace(self, *, authority: bool = False) -> None:
        """Another cluster stands behind the same address: other uids, lower resourceVersions, nothing of what was there; its clients have
        a new `token`. Its CA stays."""
        assert not authority
        self.stop()
        self._kill("etcd")
        shutil.rmtree(self.directory / "etcd")
        self._start_etcd()
        self.start()
        self._introduce()

    def _start_etcd(self) -> None:
        own, peers = (f"http://{self.address}:{port}" for port in (self._etcd_port, self._peer_port))
        self._run(
            "etcd",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={own}",
            f"--advertise-client-urls={own}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",
        )

    def _run(self, program: str, *arguments: str) -> None:
        with (self.directory / f"{program}.log").open("ab") as log:
            command = [str(self._assets / program), *arguments]
            self._processes[program] = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory)

    def _kill(self, program: str) -> None:
        process = self._processes.pop(program, None)
        if process is not None:
            process.kill()
            process.wait()

    def _said(self, program: str) -> str:
        return "\n".join((self.directory / f"{program}.log").read_text().splitlines()[-20:])

    def _ready(self) -> bool:
        try:
            return self.ask("GET", "/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def _introduce(self) -> None:
        """What a cluster has: its namespaces, and whom this is all for."""
        self._account()
        self.apply(self._role())
        self.apply(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": ACCOUNT},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ACCOUNT},
                "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "kube-system"}],
            }
        )
        self.token = self.issue()

    # -- what it holds --------------------------------------------------------------------------------------------------------

    def apply(self, *values: Object) -> list[Object]:
        """Creates or replaces them, their statuses as well. A namespace that isn't there is made first."""
        return [self._applied(value) for value in values]

    def kubectl(self, *arguments: str, given: Object | None = None) -> None:
        """kubectl as the administrator; `given`: its standard input. Where the assets have none, the test is skipped."""
        program = self._assets / "kubectl"
        if not program.exists():
            pytest.skip("no kubectl in $KUBEBUILDER_ASSETS; `make kube-assets` obtains it")
        config = self.directory / "admin.kubeconfig"
        config.write_text(json.dumps(self.kubeconfig(ADMIN)))
        command = [str(program), f"--kubeconfig={config}", f"--cache-dir={self.directory / 'kubectl'}", *arguments]
        done = subprocess.run(command, input=json.dumps(given) if given else "", capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        """At once, whatever its grace period."""
        resource = self._resources[kind]
        self.expect("DELETE", f"{_path(resource, namespace)}/{name}", {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})

    def make_namespace(self, name: str) -> None:
        """Unless it is there."""
        if self.ask("GET", f"/api/v1/namespaces/{name}")[0] == 404:
            self.expect("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def _applied(self, value: Object) -> Any:
        value = _admissible(value)
        resource = self._resources[value["kind"]]
        name, namespace = value["metadata"]["name"], value["metadata"].get("namespace") or "default"
        path = _path(resource, namespace)
        if resource.namespaced:
            self.make_namespace(namespace)
        code, before = self.ask("GET", f"{path}/{name}")
        if code == 404:
            done = self.expect("POST", path, value)
        else:
            given = {**value, "metadata": {**value["metadata"], "resourceVersion": before["metadata"]["resourceVersion"]}}
            done = self.expect("PUT", f"{path}/{name}", _kept(given, before))
        if resource.status and "status" in value:
            done = self.expect("PUT", f"{path}/{name}/status", {**done, "status": value["status"]})
        if resource.id == DEFINITIONS.id:
            defined = self._resources[value["spec"]["names"]["kind"]] = defined_by(value)
            self._until_served(defined)
            self.apply(self._role())
        return done

    def _until_served(self, resource: Resource) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.ask("GET", _path(resource, ""))[0] != 200:
            assert time.monotonic() < deadline, f"{resource.name} isn't served"
            time.sleep(0.05)

    # -- who asks -------------------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.port}"

    def kubeconfig(self, token: str = "", context: str = "real") -> Object:
        """Of a user with this token; by default `token`."""
        return kubeconfig(self.url, self.ca.data, token or self.token, context)

    def forbid(self, resource: str, verb: str = "*") -> None:
        self._forbidden.add((verb, resource))
        self.apply(self._role())

    def permit(self, resource: str, verb: str = "*") -> None:
        self._forbidden.discard((verb, resource))
        self.apply(self._role())

    def expire(self) -> None:
        """Tokens so far are no longer taken, within the ten seconds for which the server remembers that they were good."""
        self.delete("ServiceAccount", ACCOUNT, "kube-system")

    def issue(self) -> str:
        """A new token."""
        self._account()
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        path = f"/api/v1/namespaces/kube-system/serviceaccounts/{ACCOUNT}/token"
        return str(self.expect("POST", path, asked)["status"]["token"])

    def _account(self) -> None:
        self.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": "kube-system"}})

    def _role(self) -> Object:
        """What `config/kubernetes/rbac.yaml` grants, and to look at what Steersman doesn't read."""
        granted = [(group, name, rule["verbs"]) for rule in reading_rules() for group in rule["apiGroups"] for name in rule["resources"]]
        known = {(group, name) for group, name, _ in granted}
        granted += [(one.group, one.plural, READ) for one in self._resources.values() if one.id not in known and one not in AUTHORITY]
        rules = []
        for group, name, wanted in granted:
            verbs = [verb for verb in wanted if not {(verb, name), ("*", name)} & self._forbidden]
            if verbs:
                rules.append({"apiGroups": [group], "resources": [name], "verbs": verbs})
        return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": ACCOUNT}, "rules": rules}

    # -- over HTTP ------------------------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: Object | None = None) -> tuple[int, Any]:
        """As the administrator; (status, what was answered)."""
        trusted = ssl.create_default_context(cadata=self.ca.pem.decode())
        connection = http.client.HTTPSConnection(self.address, self.port, timeout=20, context=trusted)
        try:
            headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if text.startswith("{") else text
        finally:
            connection.close()

    def expect(self, method: str, path: str, body: Object) -> Any:
        """The answer, which is no refusal."""
        status, answer = self.ask(method, path, body)
        assert status < 300, f"{method} {path}: {answer}"
        return answer

    def _etcd(self, path: str, **body: Any) -> Any:
        connection = http.client.HTTPConnection(self.address, self._etcd_port, timeout=20)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status == 200, text
            return json.loads(text)
        finally:
            connection.close()


def _path(resource: Resource, namespace: str) -> str:
    base = f"/apis/{resource.group}/{resource.versions[0]}" if resource.group else "/api/v1"
    return f"{base}/namespaces/{namespace or 'default'}/{resource.plural}" if resource.namespaced else f"{base}/{resource.plural}"


def _admissible(value: Object) -> Object:
    """With what the server insists on, and no mesh reads."""
    if value["kind"] == "Pod" and "containers" not in value["spec"]:
        return {**value, "spec": {**value["spec"], "containers": [{"name": "app", "image": "app"}]}}
    return value


def _kept(value: Object, before: Object) -> Object:
    """With the fields that the server chose and that can't be taken away."""
    if value["kind"] == "Service" and "clusterIP" not in value["spec"] and value["spec"].get("type") != "ExternalName":
        chosen = {key: before["spec"][key] for key in ("clusterIP", "clusterIPs") if key in before["spec"]}
        return {**value, "spec": {**value["spec"], **chosen}}
    if value["kind"] == "Pod":
        return {**value, "spec": before["spec"]}
    return value
