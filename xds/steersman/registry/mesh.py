"""What the mesh's configuration says, and what it says of one cluster."""

from steersman.graph import Reader
from steersman.model.config import MeshConfig
from steersman.model.ids import ClusterID
from steersman.registry.collections import CLUSTERS, MESH

_DEFAULTS = MeshConfig()


def mesh_of(read: Reader) -> MeshConfig:
    """The mesh section; its defaults until it is told."""
    return read(MESH, "") or _DEFAULTS


def trust_domain_of(read: Reader, cluster: ClusterID) -> str:
    """The trust domain of a cluster's identities: its own, else the mesh's."""
    config = read(CLUSTERS, cluster)
    return (config.trust_domain if config is not None else "") or mesh_of(read).trust_domain
