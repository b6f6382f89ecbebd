"""Endpoints, spliced: an endpoint's bytes are made once, with the cell or the cells of its locality, and every assignment in which those
stand holds those very bytes."""

from functools import lru_cache
from operator import attrgetter

from steersman.graph import Reader
from steersman.model.ids import Locality, ServicePortKey
from steersman.model.mesh import Endpoint, LocalityGroup, NetworkGateway, SplitHorizon, Traits
from steersman.registry.collections import CELLS, MESH_SERVICES, CellKey
from steersman.resources.collections import ENCODED_CELLS, ENCODED_GATEWAYS, EncodedCellsKey
from steersman.resources.lb_endpoints import encoded, encoded_gateway, field, varint, weight_field
from steersman.resources.resource import Resource, of_parts
from steersman.views.collections import SEEN, SeenKey


def encoded_cells(read: Reader, key: EncodedCellsKey) -> bytes:
    """The endpoints of a group's cells as LocalityLbEndpoints.lb_endpoints, sorted by (address, port), each weight multiplied by the key's
    scale."""
    return encoded(_endpoints(read, key.port, key.cells), key.scale, headless=_headless(read, key.port))


def gateway_endpoint(read: Reader, gateway: NetworkGateway) -> bytes:
    """A network's gateway as an LbEndpoint without its weight, which is an assignment's own."""
    return encoded_gateway(gateway)


def assignment_of(read: Reader, key: tuple[str, SeenKey]) -> Resource:
    """The ClusterLoadAssignment of that cluster name: one LocalityLbEndpoints for each group of the view that has endpoints, in its order.

    Parts: cells' bytes, shared with every other assignment that holds the cell, and between them what is this one's own.
    """
    name, seen_key = key
    seen = read(SEEN, seen_key)
    parts: list[bytes] = []
    own = field(1, name.encode())
    for group in seen.groups:
        if not group.direct and not group.gateways:
            continue
        direct = _direct(read, seen_key, group.direct, seen)
        start, end = _around(read, group, len(direct))
        parts += (own + start, direct) if direct else (own + start,)
        own = end
    parts.append(own)
    return of_parts(name, parts)


def _direct(read: Reader, seen_key: SeenKey, cells: tuple[Traits, ...], seen: SplitHorizon) -> bytes:
    """The bytes of a group's direct endpoints: those very ones that other assignments hold, unless some endpoint is left out here."""
    port = seen_key.port
    if not cells:
        return b""
    left_out = {lost for lost in seen.without if lost[0] in cells}
    if not left_out:
        return read(ENCODED_CELLS, EncodedCellsKey(port, cells, seen.scale))
    kept = tuple(one for one in _endpoints(read, port, cells) if (one.traits, one.address, one.port) not in left_out)
    return encoded(kept, seen.scale, headless=_headless(read, port))


def _endpoints(read: Reader, port: ServicePortKey, cells: tuple[Traits, ...]) -> tuple[Endpoint, ...]:
    """All endpoints of these cells, sorted by (address, port)."""
    if len(cells) == 1:
        return read(CELLS, CellKey(port, cells[0]))
    return tuple(sorted((endpoint for traits in cells for endpoint in read(CELLS, CellKey(port, traits))), key=_PLACE))


_PLACE = attrgetter("address", "port")


def _headless(read: Reader, port: ServicePortKey) -> bool:
    service = read(MESH_SERVICES, port.service)
    return service is not None and service.headless


def _around(read: Reader, group: LocalityGroup, direct: int) -> tuple[bytes, bytes]:
    """What stands before and after so many bytes of direct endpoints in the list of LocalityLbEndpoints: locality; gateways, weight,
    priority."""
    locality = _locality(group.locality)
    after = b"".join([field(2, read(ENCODED_GATEWAYS, gateway) + weight_field(4, weight)) for gateway, weight in group.gateways])
    after += weight_field(3, group.weight)
    if group.priority:
        after += b"\x28" + varint(group.priority)
    return b"\x12" + varint(len(locality) + direct + len(after)) + locality, after


@lru_cache(maxsize=1 << 12)
def _locality(locality: Locality) -> bytes:
    """LocalityLbEndpoints.locality. It is there even when nothing is known of it: gRPC refuses a group without."""
    return field(1, b"".join([field(number, part.encode()) for number, part in enumerate(locality, 1) if part]))
