"""Objects as a cluster's API would show them: manifests with what Kubernetes' controllers and kubelets add. Pure."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from steersman.errors import ConfigError
from steersman.lab.addresses import Addresses, selected
from steersman.lab.isolation import Isolation
from steersman.lab.manifests import Manifests, Object, container_ports, labels_of, target_port
from steersman.model.ids import ObjectKey

SLICE_SIZE = 100
"""Endpoints in one EndpointSlice at most, as Kubernetes has it."""


class ContainerState(NamedTuple):
    """`exited`: the exit status of a container that ended by itself or was stopped, None while it runs or waits to be started."""

    ready: bool = False
    running: bool = False
    exited: int | None = None


def pod_object(manifests: Manifests, pod: Object, addresses: Addresses, states: Mapping[str, ContainerState], created: str) -> Object:
    """The Pod with its addresses and what its kubelet says of its containers."""
    shown, key = copy.deepcopy(pod), manifests.key(pod)
    ready = pod_ready(pod, states)
    ip = addresses.pods[key].ip
    shown["metadata"].setdefault("creationTimestamp", created)
    shown["status"] = {
        "phase": "Running",
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "startTime": created,
        "conditions": [
            {"type": "Initialized", "status": "True"},
            {"type": "Ready", **_condition(ready)},
            {"type": "ContainersReady", **_condition(ready)},
            {"type": "PodScheduled", "status": "True"},
        ],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "restartCount": 0,
                **_container(states.get(container["name"], ContainerState())),
            }
            for container in pod["spec"]["containers"]
        ],
    }
    return shown


def pod_ready(pod: Object, states: Mapping[str, ContainerState]) -> bool:
    """Whether every container is."""
    return all(states.get(container["name"], ContainerState()).ready for container in pod["spec"]["containers"])


def service_object(manifests: Manifests, service: Object, addresses: Addresses) -> Object:
    """The Service with the addresses that it was given: in the cluster, and outside of it if it is a load balancer."""
    shown, key = copy.deepcopy(service), manifests.key(service)
    if (vip := addresses.vips.get(key)) is not None:
        shown["spec"] |= {"clusterIP": vip, "clusterIPs": [vip], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}
    if key in addresses.external:
        shown["status"] = {"loadBalancer": {"ingress": [{"ip": external} for external, _ in addresses.external[key]]}}
    return shown


def gateway_object(gateway: Object, manifests: Manifests, addresses: Addresses) -> Object:
    """The Gateway; on loopback bound to the address of its pod, since all pods share one set of ports there.

    Raises ConfigError for one with several pods on loopback: they would all bind the same.
    """
    shown = copy.deepcopy(gateway)
    if addresses.isolation is Isolation.NAMESPACES:
        return shown
    selector = (gateway["spec"].get("selector") or {}).items()
    behind = [manifests.key(pod) for pod in manifests.of_kind("Pod") if selector and selector <= labels_of(pod).items()]
    if len(behind) > 1:
        place = f"Gateway {manifests.key(gateway)}.spec.selector"
        raise ConfigError(
            str(manifests.file(gateway)), place, ", ".join(map(str, behind)), "one pod: without namespaces they would bind one address"
        )
    for server in shown["spec"].get("servers") or []:
        for pod in behind:
            server.setdefault("bind", addresses.pods[pod].ip)
    return shown


def slice_objects(manifests: Manifests, service: Object, addresses: Addresses, ready: Mapping[ObjectKey, bool]) -> list[Object]:
    """The EndpointSlices of a Service with a selector. Pods whose named ports have different numbers get slices of their own."""
    by_ports: dict[tuple[int, ...], list[Object]] = {}
    for pod in selected(manifests, service):
        by_ports.setdefault(_targets(service, pod), []).append(pod)
    key = manifests.key(service)
    found: list[Object] = []
    for targets, pods in sorted(by_ports.items()):
        for part in _parts(pods):
            found.append(_slice(manifests, service, targets, part, addresses, ready, f"{key.name}-{len(found) + 1}"))
    return found


def _slice(
    manifests: Manifests,
    service: Object,
    targets: tuple[int, ...],
    pods: Sequence[Object],
    addresses: Addresses,
    ready: Mapping[ObjectKey, bool],
    name: str,
) -> Object:
    key = manifests.key(service)
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": key.namespace,
            "labels": {"kubernetes.io/service-name": key.name, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": key.name, "controller": True}],
        },
        "addressType": "IPv4",
        "ports": [_port(port, target) for port, target in zip(service["spec"].get("ports") or [], targets, strict=True) if target],
        "endpoints": [_endpoint(manifests, pod, addresses, ready[manifests.key(pod)]) for pod in pods],
    }


def _parts(pods: Sequence[Object]) -> Iterable[Sequence[Object]]:
    return (pods[start : start + SLICE_SIZE] for start in range(0, len(pods), SLICE_SIZE))


def _endpoint(manifests: Manifests, pod: Object, addresses: Addresses, ready: bool) -> Object:
    key, node = manifests.key(pod), pod["spec"].get("nodeName", "")
    endpoint: dict[str, Any] = {
        "addresses": [addresses.pods[key].ip],
        "conditions": {"ready": ready, "serving": ready, "terminating": False},
        "targetRef": {"kind": "Pod", "namespace": key.namespace, "name": key.name},
    }
    if node:
        endpoint["nodeName"] = node
    if zone := manifests.locality(node).zone:
        endpoint["zone"] = zone
    return endpoint


def _targets(service: Object, pod: Object) -> tuple[int, ...]:
    named = container_ports(pod)
    return tuple(target_port(port.get("targetPort", port["port"]), named) for port in service["spec"].get("ports") or [])


def _port(port: Object, target: int) -> Object:
    shown = {"name": port.get("name", ""), "port": target, "protocol": port.get("protocol", "TCP")}
    return shown | ({"appProtocol": port["appProtocol"]} if "appProtocol" in port else {})


def _condition(ready: bool) -> Object:
    return {"status": "True"} if ready else {"status": "False", "reason": "ContainersNotReady"}


def _container(state: ContainerState) -> Object:
    if state.running:
        return {"ready": state.ready, "started": True, "state": {"running": {}}}
    if state.exited is not None:
        return {"ready": False, "started": False, "state": {"terminated": {"exitCode": state.exited}}}
    return {"ready": False, "started": False, "state": {"waiting": {"reason": "ContainerCreating"}}}
