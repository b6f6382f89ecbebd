"""Removals that a cluster's API told and that are held: what is shown as it was last stands, marked, until they are believed."""

from steersman.model.ids import ObjectKey
from steersman.model.mesh import ObjectRef
from steersman.model.objects import Row

_HELD = "~held"
"""Ends the name under which what is held of an EndpointSlice stands beside it: no name in Kubernetes has a tilde."""


def held_slice(listed: ObjectKey, service: str) -> ObjectKey:
    """Where the endpoints stand that are held of this EndpointSlice, as one of this Service: its label may have changed since."""
    return ObjectKey(listed.cluster, listed.namespace, f"{listed.name}~{service}{_HELD}")


def slice_held(key: ObjectKey) -> ObjectKey | None:
    """The EndpointSlice of which the one under this key holds endpoints; None where it is one of the API's own."""
    if not key.name.endswith(_HELD):
        return None
    return ObjectKey(key.cluster, key.namespace, key.name.partition("~")[0])


class HeldRemoval(Row, frozen=True, kw_only=True):
    """A mass removal that is held (kind HELD_REMOVAL, key: `object`).

    `object`: the Service of one cluster that would lose endpoints; or, where a list lacks objects, their kind, with the cluster as its key.
    `count`: the endpoints, or objects, that are held, of `before` that there were. `since`, `until`: wall clock seconds; then they go,
    whatever happens. `cause`: in words. `pods`: of a Service, those that a list lacked though slices name them.
    """

    object: ObjectRef
    count: int
    before: int
    since: float
    until: float
    cause: str
    pods: frozenset[ObjectKey] = frozenset()

    @property
    def is_of_service(self) -> bool:
        """Whether endpoints of a Service are held, not objects that a list lacks."""
        return bool(self.object.key.name)

    @property
    def what(self) -> str:
        """In words: `8 endpoints of Service east/default/web`, `40 objects of kind Pod of cluster east`."""
        if self.is_of_service:
            return f"{self.count} endpoint{'' if self.count == 1 else 's'} of {self.object}"
        return f"{self.count} objects of kind {self.object.kind} of cluster {self.object.key.cluster}"

    @property
    def release(self) -> str:
        """The command that lets go of it."""
        of = self.object.key
        return f"steersman release {of.cluster} {of.namespace}/{of.name}" if self.is_of_service else f"steersman release {of.cluster}"
