"""A cluster that is changed as its users change it: by applying what they have in files."""

from tests.support.apiserver.client import Cluster
from tests.support.apiserver.double import Double
from tests.support.apiserver.kinds import Object

APPLY = ("apply", "--server-side", "--force-conflicts", "-f", "-")


class Applied:
    """By `kubectl apply` where the API server is the real one. Statuses, which are nobody's to apply, come after."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._files: dict[str, list[Object]] = {}

    def put(self, file: str, *objects: Object) -> None:
        """The file holds these from now on; what it no longer holds is deleted."""
        before, self._files[file] = self._files.get(file, []), list(objects)
        if isinstance(self._cluster, Double):
            self._cluster.apply(*objects)
        elif objects:
            for namespace in {name[2] for name in map(_name, objects)} - {""}:
                self._cluster.make_namespace(namespace)
            self._cluster.kubectl(*APPLY, given={"apiVersion": "v1", "kind": "List", "items": [_spec(one) for one in objects]})
            self._cluster.apply(*(one for one in objects if "status" in one))
        for gone in set(map(_name, before)) - set(map(_name, objects)):
            self._cluster.delete(*gone)


def _name(value: Object) -> tuple[str, str, str]:
    return value["kind"], value["metadata"]["name"], value["metadata"].get("namespace", "")


def _spec(value: Object) -> Object:
    """What a file holds: no status, and what the API server insists on."""
    applied = {key: part for key, part in value.items() if key != "status"}
    if value["kind"] == "Pod":
        applied["spec"] = {"containers": [{"name": "app", "image": "app"}], **value["spec"]}
    return applied
