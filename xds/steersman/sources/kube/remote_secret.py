"""The Secret by which one cluster is made known to another: Istio's, so that either reads what the other's tools made. Pure.

Source: Istio, pkg/kube/multicluster; `istioctl create-remote-secret`.
"""

import base64
import hashlib
import re
from typing import Any

from steersman.sources.kube.kubeconfig import Kubeconfig
from steersman.sources.kube.resources import REMOTE_SECRETS_LABEL

ANNOTATION = "networking.istio.io/cluster"
_PREFIX = "istio-remote-secret-"
KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
"""What may be a key of a Secret, and so the name of a cluster in one."""


def remote_kubeconfig(cluster: str, server: str, ca_data: str, server_name: str, token: str) -> Kubeconfig:
    """Whose everything is called as the cluster is. `ca_data`: base64 of PEM, "" for the authorities that a system trusts."""
    reached = {"certificate-authority-data": ca_data, "server": server, "tls-server-name": server_name}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {key: value for key, value in reached.items() if value}}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": cluster}}],
        "current-context": cluster,
        "users": [{"name": cluster, "user": {"token": token}}],
    }


def remote_secret(cluster: str, namespace: str, kubeconfig: str) -> dict[str, Any]:
    """`kubeconfig`: the text."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret_name(cluster),
            "namespace": namespace,
            "labels": {REMOTE_SECRETS_LABEL: "true"},
            "annotations": {ANNOTATION: cluster},
        },
        "data": {cluster: base64.b64encode(kubeconfig.encode()).decode()},
    }


def secret_name(cluster: str) -> str:
    """Istio's; where the cluster's name is none that a Secret may have, one made of it that no other cluster's is."""
    name = f"{_PREFIX}{cluster}"
    if len(name) <= 253 and re.fullmatch(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", name):
        return name
    fitted = re.sub(r"[^-a-z0-9]", "-", cluster.lower()).strip("-")[:200]
    return f"{_PREFIX}{fitted}-{hashlib.sha256(cluster.encode()).hexdigest()[:8]}"
