"""The answer to "why does this proxy see these endpoints": plain values, named as in the Inspect service's messages."""

from steersman.model.objects import Row


class Reference(Row, frozen=True, kw_only=True):
    """An object ("Kind cluster/namespace/name"), and where it is written (FILE:LINE, or "")."""

    object: str
    place: str = ""


class Place(Row, frozen=True, kw_only=True):
    """Where the proxy stands. `view`: empty for all networks. `inferred`: what its Node didn't say, and how it was worked out."""

    cluster: str
    network: str
    namespace: str
    locality: str
    families: tuple[str, ...]
    view: tuple[str, ...]
    inferred: tuple[str, ...]


class Candidate(Row, frozen=True, kw_only=True):
    """One endpoint that the service has somewhere, in or out for this proxy, by which rule (Rule) and because of which objects.

    `port` 0: no endpoint has one there. `gateways`: ADDRESS:PORT of those that share its weight. `weight`: in this assignment; 0 when out.
    """

    address: str
    port: int
    admitted: bool
    rule: str
    because: tuple[Reference, ...]
    note: str
    gateways: tuple[str, ...]
    pod: str
    cluster: str
    network: str
    locality: str
    mtls: bool
    health: str
    weight: int
    source: Reference


class Gateway(Row, frozen=True, kw_only=True):
    """A gateway as it stands in the assignment: its whole weight, in the locality's group where it stands."""

    address: str
    port: int
    network: str
    locality: str
    weight: int
    source: Reference


class PortExplanation(Row, frozen=True, kw_only=True):
    """One assignment. `cluster`: the Envoy cluster that it belongs to. `facts`: everything that the assignment was computed from, but for
    the mere lists of what there is."""

    port: int
    name: str
    protocol: str
    cluster: str
    candidates: tuple[Candidate, ...]
    gateways: tuple[Gateway, ...]
    notes: tuple[str, ...]
    facts: tuple[Reference, ...]


class Explanation(Row, frozen=True, kw_only=True):
    """`service`: the full host. `services`: the Services that are this one service. `notes`: of the service as a whole."""

    proxy: str
    service: str
    standpoint: Place
    services: tuple[Reference, ...]
    notes: tuple[str, ...]
    ports: tuple[PortExplanation, ...]
