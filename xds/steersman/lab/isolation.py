"""How far apart the lab's pods are."""

from enum import StrEnum


class Isolation(StrEnum):
    """NAMESPACES: every pod has a network of its own, as in Kubernetes. LOOPBACK: only addresses of its own, which everyone can reach."""

    NAMESPACES = "namespaces"
    LOOPBACK = "loopback"
