"""Objects as Python writes them -> what the sources make of them."""

import json
from typing import Any

from steersman.model.ids import ClusterID
from steersman.sources.decode import Decoded, Ignored, decode

EAST = ClusterID("east")


def made(
    kind: str, api_version: str = "v1", /, *, name: str = "a", namespace: str | None = "ns", meta: Any = None, **fields: Any
) -> Decoded:
    """The decoded object; fails if its kind is ignored."""
    metadata = {"name": name, **({"namespace": namespace} if namespace is not None else {}), **(meta or {})}
    result = decode(EAST, api_version, kind, json.dumps({"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}).encode())
    assert not isinstance(result, Ignored)
    return result


def complaints(decoded: Decoded) -> dict[str, str]:
    """Cause by finding id."""
    return {complaint.id: complaint.cause for complaint in decoded.complaints}
