"""The EndpointSlices of one cluster as its API lists them, by Service. Pure."""

from steersman.model.ids import ObjectKey
from steersman.model.objects import EndpointSlice
from steersman.sources.contents import Steps
from steersman.sources.kube.doubted import places_up, up_in


class Listed:
    """Holds each slice once more than its mirror does, and nothing of what is in it."""

    def __init__(self) -> None:
        self._slices: dict[ObjectKey, EndpointSlice] = {}
        self._of: dict[ObjectKey, tuple[ObjectKey, ...]] = {}

    def put(self, key: ObjectKey, piece: EndpointSlice | None) -> EndpointSlice | None:
        """A slice is so now, or gone; how it was."""
        before = self._slices.get(key)
        if piece is not None:
            self._slices[key] = piece
        elif before is not None:
            del self._slices[key]
        if before is None or piece is None or before.service != piece.service:
            if before is not None:
                was = service_of(before)
                left = tuple(one for one in self._of.pop(was) if one != key)
                if left:
                    self._of[was] = left
            if piece is not None:
                of = service_of(piece)
                self._of[of] = (*self._of.get(of, ()), key)
        return before

    def of(self, service: ObjectKey) -> list[EndpointSlice]:
        """The slices of a Service."""
        return [self._slices[key] for key in self._of.get(service, ())]

    def up(self, service: ObjectKey) -> int:
        """How many endpoints of a Service are up."""
        return sum([up_in(piece) for piece in self.of(service)])

    def naming(self, pods: set[ObjectKey]) -> Steps[dict[ObjectKey, dict[ObjectKey, int]]]:
        """By Service: which of these Pods its slices name, with how many endpoints that are up. Pauses after each slice."""
        found: dict[ObjectKey, dict[ObjectKey, int]] = {}
        for piece in list(self._slices.values()) if pods else ():
            for number in places_up(piece):
                if name := piece.members.pods[number]:
                    pod = pod_of(piece.key, name)
                    if pod in pods:
                        named = found.setdefault(service_of(piece), {})
                        named[pod] = named.get(pod, 0) + 1
            yield
        return found


def service_of(piece: EndpointSlice) -> ObjectKey:
    return ObjectKey(piece.key.cluster, piece.key.namespace, piece.service)


def pod_of(beside: ObjectKey, name: str) -> ObjectKey:
    """The Pod of this name. `beside`: a slice that names it, or its Service, which are of the same namespace."""
    return ObjectKey(beside.cluster, beside.namespace, name)
