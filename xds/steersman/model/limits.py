"""What clients of the xDS address may ask, and how long things are waited for."""

from steersman.model.objects import Row


class Limits(Row, frozen=True, kw_only=True):
    """Bounds on what clients may cost, far from what honest ones need. Past them a stream ends, with a status that names the bound."""

    names: int = 65_536
    """Names subscribed of one type."""

    name_length: int = 4_096
    """Characters of a name."""

    types: int = 32
    """Distinct type URLs of one stream."""

    streams_per_node: int = 256
    """Open streams of one node, those that it may have lost and not told of among them."""

    streams: int = 32_768
    """Open streams of all nodes."""

    new_streams_per_second: int = 1_000
    """Let in at most; fewer, as long as the server is behind with what it has."""

    waiting_streams: int = 16_384
    """In line to be let in."""

    message_size: int = 16 * 1024 * 1024
    """Bytes of a request: an Envoy's Node takes 60 KB, 50,000 names 5 MB. gRPC's own limit of 4 MiB would end such a stream unexplained."""


class Patience(Row, frozen=True, kw_only=True):
    """Waits, in seconds."""

    ack: float = 60.0
    """For an ACK or NACK, until the client is given up. Envoy keeps the ACK of clusters back while they warm, 15 s at its defaults."""

    warm: float = 5.0
    """For the ACK of new clusters, before listeners and routes that may use them are sent."""

    removal: float = 15.0
    """For the ACK of listeners and routes, before clusters and endpoints that they may have used are removed."""

    reopening: float = 1.0
    """For a client that reconnects to ask for its listeners and routes again, before what vanished meanwhile is removed."""


LIMITS = Limits()
PATIENCE = Patience()
