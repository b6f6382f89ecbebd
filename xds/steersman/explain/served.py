"""What one proxy stands to be sent: the same manifests and values that its streams are fed from."""

from collections.abc import Collection
from typing import NamedTuple

from steersman.graph import Reader
from steersman.resources.collections import MANIFESTS, TABLES_OF
from steersman.resources.resource import Resource


class Served(NamedTuple):
    """A resource by type and name; None while it waits for something from outside (a signature)."""

    type_url: str
    name: str
    resource: Resource | None


def served_to(read: Reader, node_id: str, types: Collection[str]) -> tuple[Served, ...]:
    """The proxy's resources of these types (URLs), by type in the order in which types are sent, then by name.

    Empty for a proxy that the pipeline doesn't know. Raises ComputeFailed where one could not be computed: our bug.
    """
    found: list[Served] = []
    for parts in read(TABLES_OF, node_id):
        entries = [(part.type_url, name, ref) for part in parts if part.type_url in types for name, ref in read(MANIFESTS, part)]
        for type_url, name, ref in sorted(entries, key=lambda entry: entry[1]):
            found.append(Served(type_url, name, read(ref.collection, ref.key)))
    return tuple(found)
