"""Endpoints, spliced: an endpoint's bytes are made once a cell, and every assignment in which the cell stands holds those very bytes."""

from functools import lru_cache

from steersman.graph import Reader
from steersman.model.ids import Locality
from steersman.model.mesh import LocalityGroup, NetworkGateway, SplitHorizon, Traits
from steersman.registry.collections import CELLS, MESH_SERVICES, CellKey
from steersman.resources.collections import ENCODED_CELLS, ENCODED_GATEWAYS, EncodedCellKey
from steersman.resources.lb_endpoints import encoded, encoded_gateway, field, varint, weight_field
from steersman.resources.resource import Resource, of_parts
from steersman.views.collections import SEEN, SeenKey


def encoded_cell(read: Reader, key: EncodedCellKey) -> bytes:
    """The endpoints of a cell as LocalityLbEndpoints.lb_endpoints, in order, each weight multiplied by the key's scale."""
    return encoded(read(CELLS, key.cell), key.scale, headless=_headless(read, key.cell))


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
        cells = [_cell(read, seen_key, traits, seen) for traits in group.direct]
        start, end = _around(read, group, sum(map(len, cells)))
        parts += (own + start, *cells)
        own = end
    parts.append(own)
    return of_parts(name, parts)


def _cell(read: Reader, seen_key: SeenKey, traits: Traits, seen: SplitHorizon) -> bytes:
    key = CellKey(seen_key.port, traits)
    if not seen.without:
        return read(ENCODED_CELLS, EncodedCellKey(key, seen.scale))
    without = {(address, port) for cell, address, port in seen.without if cell == traits}
    if not without:
        return read(ENCODED_CELLS, EncodedCellKey(key, seen.scale))
    kept = tuple(endpoint for endpoint in read(CELLS, key) if (endpoint.address, endpoint.port) not in without)
    return encoded(kept, seen.scale, headless=_headless(read, key))


def _headless(read: Reader, key: CellKey) -> bool:
    service = read(MESH_SERVICES, key.port.service)
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
