"""One cluster of the lab: its objects, as files in a directory that Steersman watches, each replaced at once."""

import time
from collections.abc import Mapping
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import msgspec

from steersman.lab.addresses import Addresses, selected
from steersman.lab.manifests import Manifests, Object
from steersman.lab.objects import ContainerState, gateway_object, pod_object, pod_ready, service_object, slice_objects
from steersman.model.ids import ObjectKey


class Cluster:
    """What the cluster's API server would show. `directory` is made, and holds one JSON file an object."""

    def __init__(self, manifests: Manifests, addresses: Addresses, directory: Path) -> None:
        self.manifests = manifests
        self.directory = directory
        self._addresses = addresses
        self._created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._version = 0
        self._states: dict[ObjectKey, dict[str, ContainerState]] = {manifests.key(pod): {} for pod in manifests.of_kind("Pod")}
        self._pods = {manifests.key(pod): pod for pod in manifests.of_kind("Pod")}
        directory.mkdir(parents=True, exist_ok=True)

    def publish(self) -> None:
        """Everything, with pods that are not ready yet."""
        for found in self.manifests.objects:
            match found["kind"]:
                case "Pod":
                    self._show_pod(self.manifests.key(found))
                case "Service":
                    self._put(service_object(self.manifests, found, self._addresses))
                    self._show_endpoints(found)
                case "Gateway":
                    self._put(gateway_object(found, self.manifests, self._addresses))
                case _:
                    self._put(found)

    def ready(self, key: ObjectKey) -> bool:
        return pod_ready(self._pods[key], self._states[key])

    def containers_are(self, key: ObjectKey, states: Mapping[str, ContainerState]) -> None:
        """What the kubelet says of a pod's containers now; what follows from it is written, and nothing where nothing does."""
        if states == self._states[key]:
            return
        was_ready = self.ready(key)
        self._states[key] = dict(states)
        self._show_pod(key)
        if self.ready(key) != was_ready:
            for service in self.manifests.of_kind("Service"):
                if key in map(self.manifests.key, selected(self.manifests, service)):
                    self._show_endpoints(service)

    def _show_pod(self, key: ObjectKey) -> None:
        self._put(pod_object(self.manifests, self._pods[key], self._addresses, self._states[key], self._created))

    def _show_endpoints(self, service: Object) -> None:
        ready = {key: self.ready(key) for key in self._pods}
        for shown in slice_objects(self.manifests, service, self._addresses, ready):
            self._put(shown)

    def _put(self, found: Object) -> None:
        """By rename, so that nobody ever reads half of an object."""
        self._version += 1
        key = self.manifests.key(found)
        name = ".".join(part for part in (found["kind"].lower(), key.namespace, key.name) if part)
        identity = str(uuid5(NAMESPACE_URL, f"{key.cluster}/{name}"))
        meta = {"creationTimestamp": self._created, "uid": identity} | found["metadata"] | {"resourceVersion": str(self._version)}
        pending = self.directory / f".{name}.pending"
        pending.write_bytes(msgspec.json.format(msgspec.json.encode(found | {"metadata": meta}), indent=1) + b"\n")
        pending.replace(self.directory / f"{name}.json")
