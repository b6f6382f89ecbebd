"""v1 Pod, Node and Namespace: what runs, where, and under which labels."""

import re
from collections.abc import Iterator
from functools import lru_cache
from sys import intern

from steersman.errors import InvalidObject
from steersman.model.ids import Labels, Locality, ObjectKey, labels_of
from steersman.model.objects import Namespace, Node, Pod
from steersman.names import REGION_LABEL, SUBZONE_LABEL, ZONE_LABEL
from steersman.sources import shapes
from steersman.sources.report import Report
from steersman.sources.service import addresses

_LOCALITY_LABEL = "istio-locality"
_OLD_REGION_LABEL = "failure-domain.beta.kubernetes.io/region"
_OLD_ZONE_LABEL = "failure-domain.beta.kubernetes.io/zone"
_ACCOUNT = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_DONE = ("Succeeded", "Failed")


def pod_of(key: ObjectKey, shape: shapes.Pod, report: Report) -> Pod:
    """The row of a Pod. An address that is none is left out and reported. Raises InvalidObject for a service account that can't be one."""
    metadata = shape.metadata
    spec = shape.spec or shapes.PodSpec()
    status = shape.status or shapes.PodStatus()
    active = status.phase not in _DONE
    terminating = metadata.deletion_timestamp is not None
    labels, locality_label = _labels(tuple(metadata.labels.items())) if metadata.labels else ((), "")
    return Pod(
        key=key,
        created=metadata.creation_timestamp or "",
        ips=_ips(status, report),
        labels=labels,
        locality_label=locality_label,
        node=intern(spec.node_name or ""),
        service_account=_service_account(spec.service_account_name or "default"),
        ports=tuple(_named_ports(spec)),
        active=active,
        ready=active and not terminating and _is_ready(status),
        terminating=terminating,
    )


def _service_account(name: str) -> str:
    """Becomes part of an identity, where a "/" would make it somebody else's. Raises InvalidObject."""
    if not _ACCOUNT.fullmatch(name):
        raise InvalidObject(f"spec.serviceAccountName: expected a lower-case DNS name, got {name!r}")
    return intern(name)


def _is_ready(status: shapes.PodStatus) -> bool:
    return any(condition.type == "Ready" and condition.status == "True" for condition in status.conditions or ())


@lru_cache(maxsize=1 << 14)
def _labels(written: tuple[tuple[str, str], ...]) -> tuple[Labels, str]:
    """Labels as they are written, and the locality that they say. Replicas have theirs in common, and many pods keys and values."""
    labels = {intern(key): intern(value) for key, value in written}
    return labels_of(labels), _locality_label(labels)


def _ips(status: shapes.PodStatus, report: Report) -> tuple[str, ...]:
    if status.pod_ips:
        if len(status.pod_ips) == 1:
            return addresses([status.pod_ips[0].ip], "status.podIPs", report)
        return tuple(dict.fromkeys(addresses([entry.ip for entry in status.pod_ips], "status.podIPs", report)))
    return addresses([status.pod_ip], "status.podIP", report) if status.pod_ip else ()


def _locality_label(labels: dict[str, str]) -> str:
    """`region.zone.subzone` with "/" instead: a label's value can't hold one. One that has a "/" all the same is taken as it is."""
    text = labels.get(_LOCALITY_LABEL, "")
    return text if "/" in text else text.replace(".", "/")


def _named_ports(spec: shapes.PodSpec) -> Iterator[tuple[str, int]]:
    """Ports that a Service may name as its target: those of containers, and of init containers that keep running (sidecars)."""
    sidecars = [container for container in spec.init_containers or () if container.restart_policy == "Always"]
    for container in (*(spec.containers or ()), *sidecars):
        for port in container.ports or []:
            if port.name and port.container_port is not None and 1 <= port.container_port <= 65535:
                yield intern(port.name), port.container_port


def node_of(key: ObjectKey, shape: shapes.Node, report: Report) -> Node:
    """The row of a Node. Locality by the stable labels, else the beta ones that they replaced."""
    labels = shape.metadata.labels or {}
    written = (shape.status.addresses if shape.status else None) or []
    found: tuple[str, ...] = ()
    for kind in ("ExternalIP", "InternalIP"):
        of_kind = [entry.address for entry in written if entry.type == kind]
        found = found or addresses(of_kind, f"status.addresses({kind})", report)
    return Node(
        key=key,
        locality=Locality(
            intern(labels.get(REGION_LABEL) or labels.get(_OLD_REGION_LABEL, "")),
            intern(labels.get(ZONE_LABEL) or labels.get(_OLD_ZONE_LABEL, "")),
            intern(labels.get(SUBZONE_LABEL, "")),
        ),
        labels=labels_of(labels),
        addresses=found,
    )


def namespace_of(key: ObjectKey, shape: shapes.Namespace, report: Report) -> Namespace:
    return Namespace(key=key, labels=labels_of(shape.metadata.labels))
