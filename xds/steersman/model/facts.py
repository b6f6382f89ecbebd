"""What sources tell the pipeline: facts, with where they came from beside them, never inside them."""

from enum import StrEnum
from typing import Any

import msgspec

from steersman.model.ids import ClusterID, ObjectKey, SpiffeID
from steersman.model.objects import Kind, Row


class Origin(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Where a fact came from; only explain and history read it, so that a whitespace edit recomputes nothing.

    `source`: the cluster, or "dns", "ca", "proxy". `place`: FILE:LINE (line counted from 1), or what else finds it again.
    `seen`: wall clock seconds when the source saw it.
    """

    source: str
    place: str = ""
    uid: str = ""
    resource_version: str = ""
    seen: float = 0.0


class Upsert(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """This value now stands under this key. Key and value types are those of the kind's table."""

    kind: Kind
    key: Any
    value: Any
    origin: Origin


class Delete(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Nothing stands under this key any more. Idempotent."""

    kind: Kind
    key: Any


class Synced(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that this source had at its start has been told. Sent once a source; `source` is the cluster's name or "ca"."""

    source: str


Fact = Upsert | Delete | Synced


class Severity(StrEnum):
    """ERROR: something does not work as written. WARNING: it works, but probably not as meant. INFO: worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Finding(Row, frozen=True, kw_only=True):
    """Something a user should know and can mend. Facts of kind FINDING come from sources (key: FindingKey); doctor adds those that
    only the whole mesh shows.

    `id`: stable, kebab-case, documented in docs/findings.md. `object`: "Kind cluster/namespace/name", or what it is about. `place`:
    FILE:LINE or "".
    """

    id: str
    severity: Severity
    object: str
    place: str = ""
    cause: str
    remedy: str


class FindingKey(msgspec.Struct, frozen=True, order=True):
    """One finding of one source: a source replaces and deletes its own by key."""

    source: str
    place: str
    id: str
    object: str

    @classmethod
    def of(cls, source: str, finding: Finding) -> "FindingKey":
        """Of a finding that this source tells."""
        return cls(source, finding.place, finding.id, finding.object)


class Resolved(Row, frozen=True, kw_only=True):
    """Answer for a gateway's hostname (kind RESOLVED, key: the hostname). `addresses`: canonical, sorted; empty when the name exists
    without any."""

    addresses: tuple[str, ...]


class LeafKey(msgspec.Struct, frozen=True):
    """A workload certificate to be signed (kind LEAF): which cluster's intermediate signs, and for whom."""

    cluster: ClusterID
    identity: SpiffeID


class Leaf(Row, frozen=True, kw_only=True):
    """A workload certificate. `chain`: PEM, leaf first, then the cluster's intermediate. `key`: PEM, PKCS#8."""

    chain: bytes
    key: bytes


class Root(Row, frozen=True, kw_only=True):
    """Trust bundle of the mesh (kind ROOT, key: the empty string): PEM of every root accepted, sorted by their DER."""

    bundle: bytes


def object_name(kind: Kind, key: ObjectKey) -> str:
    """How findings, explain and errors name an object: `Service east/default/reviews`."""
    return f"{kind} {key}"
