"""Letting go of mass removals: the one thing that can be changed here, and who may."""

import logging
import re
from urllib.parse import unquote

from steersman.admin import inspect_pb2 as pb
from steersman.admin.clusters import held_removal
from steersman.admin.selection import NotFound, Unclear
from steersman.admin.state import ServerState
from steersman.errors import SteersmanError
from steersman.model.ids import ClusterID, ServiceKey

log = logging.getLogger("steersman.admin")

_SERVICE = re.compile(r"([^/\s]+)/([^/\s]+)")
_LOOPBACK = re.compile(r"ipv4:127\.[0-9.]+:[0-9]+|ipv6:\[::1\]:[0-9]+|ipv6:\[::ffff:127\.[0-9.]+\]:[0-9]+|unix:.*")


class Denied(SteersmanError):
    """Whoever asks may only look."""


async def released(state: ServerState, request: pb.ReleaseRemovalsRequest, peer: str) -> pb.ReleaseRemovalsResponse:
    """What was let go of. `peer`: as gRPC names it. Raises Denied, NotFound or Unclear."""
    if not state.settings.server.inspect.remote_changes and not is_local(peer):
        raise Denied(
            f"a release is taken from the server's own machine only, and this comes from {unquote(peer)}: run the command there "
            "(such as by kubectl exec), or set server.inspect.remoteChanges"
        )
    cluster = ClusterID(request.cluster)
    found = await state.release(cluster, _service(request.service))
    if found is None:
        names = ", ".join(sorted(source.name for source in state.sources() if source.cluster is not None))
        raise NotFound(f"no cluster {cluster!r} is read from its API; these are: {names or 'none'}")
    for held in found:
        log.info("cluster %s: %s released by command from %s", cluster, held.what, unquote(peer))
    return pb.ReleaseRemovalsResponse(released=[held_removal(held) for held in found])


def _service(text: str) -> ServiceKey | None:
    """Raises Unclear."""
    match = _SERVICE.fullmatch(text)
    if text and match is None:
        raise Unclear(f"{text!r} is no service; expected NAMESPACE/NAME such as default/reviews")
    return ServiceKey(match[1], match[2]) if match is not None else None


def is_local(peer: str) -> bool:
    """Whether this peer, as gRPC names it, is on this machine: whoever is may read the server's memory as well."""
    return _LOOPBACK.fullmatch(unquote(peer)) is not None
