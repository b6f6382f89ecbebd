"""What is seen, in readable form: the endpoints of an assignment as an Envoy would list them."""

from typing import NamedTuple

from steersman.graph import Reader
from steersman.registry.collections import CELLS, CellKey
from steersman.views.collections import SEEN, SeenKey


class SeenEndpoint(NamedTuple):
    """`at`: ADDRESS:PORT. `gateway`: the network that it is the gateway of; "" for a direct endpoint."""

    locality: str
    at: str
    weight: int
    gateway: str = ""
    health: str = "HEALTHY"


def seen_endpoints(read: Reader, key: SeenKey) -> list[SeenEndpoint]:
    """All endpoints of an assignment in its order. Fails where a group's weight is not the sum of theirs."""
    seen = read(SEEN, key)
    without = set(seen.without)
    found = []
    for group in seen.groups:
        listed = [
            SeenEndpoint(str(group.locality), f"{one.address}:{one.port}", one.weight * seen.scale, health=one.health)
            for traits in group.direct
            for one in read(CELLS, CellKey(key.port, traits))
            if (traits, one.address, one.port) not in without
        ]
        listed += [
            SeenEndpoint(str(group.locality), f"{gateway.address}:{gateway.port}", weight, gateway.network)
            for gateway, weight in group.gateways
        ]
        assert group.weight == sum(one.weight for one in listed), group
        assert listed, "a group without endpoints"
        found += listed
    return found
