"""What explain says of mass removals that are held."""

from collections.abc import Iterator
from typing import NamedTuple

from steersman.graph import Reader
from steersman.model.clusters import moment
from steersman.model.ids import ObjectKey
from steersman.model.mesh import Endpoint, MeshService, ObjectRef
from steersman.model.objects import Kind
from steersman.model.removals import HeldRemoval, slice_held
from steersman.registry.collections import HELD_REMOVALS

_KINDS = (Kind.SERVICE, Kind.POD, Kind.NODE, Kind.NAMESPACE, Kind.GATEWAY)


class Removal(NamedTuple):
    """Why an endpoint is one that is held. `object`: what no longer lists it, or is gone."""

    object: ObjectRef
    note: str


def removal_of(held: HeldRemoval | None, endpoint: Endpoint) -> Removal | None:
    """`held`: what is held of the endpoint's Service in its cluster. None for one that the API lists, with its Pod."""
    if held is None:
        return None
    listed, pod = slice_held(endpoint.source.key), endpoint.workload.pod
    if listed is not None:
        return Removal(ObjectRef(Kind.ENDPOINT_SLICE, listed), f"the slice lists it no longer, or as not ready: {_words(held)}")
    if pod is not None and pod in held.pods:
        return Removal(ObjectRef(Kind.POD, pod), f"a list of the cluster's Pods lacks it: {_words(held)}")
    return None


def removal_notes(read: Reader, service: MeshService) -> Iterator[str]:
    """What is held of this service, and of the objects of its clusters."""
    for cluster in service.clusters:
        own = read(HELD_REMOVALS, ObjectRef(Kind.SERVICE, ObjectKey(cluster, *service.key)))
        others = (read(HELD_REMOVALS, ObjectRef(kind, ObjectKey(cluster, "", ""))) for kind in _KINDS)
        for held in (own, *others):
            if held is not None:
                yield f"{held.what}: {held.cause}; {_words(held)}"


def _words(held: HeldRemoval) -> str:
    return f"held since {moment(held.since)}, until {moment(held.until)} or `{held.release}`"
