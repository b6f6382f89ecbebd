"""The account by which a cluster is read, and its rights: what `config/kubernetes/rbac.yaml` holds, which a test keeps equal. Pure."""

from dataclasses import dataclass
from typing import Any

from steersman.sources.kube.resources import RESOURCES

Object = dict[str, Any]

ROLE = "steersman-reader"
_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True)
class Account:
    """A ServiceAccount."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


READER = Account("steersman", "steersman")


def account_objects(account: Account) -> tuple[Object, ...]:
    """What makes this account one that may read what proxies need, and nothing else; in the order in which it is to be made."""
    return (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": account.namespace}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account.name, "namespace": account.namespace}},
        {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": ROLE}, "rules": reading_rules()},
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": ROLE if account == READER else f"{ROLE}-{account.namespace}-{account.name}"},
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": ROLE},
            "subjects": [{"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}],
        },
    )


def reading_rules() -> list[Object]:
    """For each API group what is read of it."""
    rules: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for resource in RESOURCES:
        rules.setdefault((resource.group, verbs_on(resource.plural)), []).append(resource.plural)
    return [{"apiGroups": [group], "resources": sorted(plurals), "verbs": list(verbs)} for (group, verbs), plurals in rules.items()]


def verbs_on(plural: str) -> tuple[str, ...]:
    """The heartbeat gets one namespace; nothing else is asked for by its name."""
    return ("get", "list", "watch") if plural == "namespaces" else ("list", "watch")
