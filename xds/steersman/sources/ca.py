"""The mesh's own certificate authority, as a source: a directory of keys and certificates, from which come the trust bundle and a certificate
for each workload that someone wants.

One root, an intermediate for each cluster, a leaf for each workload identity in it.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from steersman.model.facts import Fact, LeafKey
from steersman.model.objects import ClusterConfig, MeshConfig

Emit = Callable[[Sequence[Fact]], None]


class CertificateAuthority:
    """The source "ca"."""

    def __init__(
        self, directory: Path, clusters: Sequence[ClusterConfig], mesh: MeshConfig, clock: Callable[[], float] = time.time
    ) -> None:
        self._directory = directory
        self._clusters = tuple(clusters)
        self._mesh = mesh
        self._clock = clock
        self._wanted: frozenset[LeafKey] = frozenset()

    def want(self, leaves: frozenset[LeafKey]) -> None:
        """All the leaves wanted from now on."""
        self._wanted = leaves
