"""Real Envoy loads all that a proxy is sent: nothing refused, nothing left warming."""

from pathlib import Path

import pytest

from steersman.names import CDS, LDS
from tests.support.loading import load
from tests.support.mesh import Mesh
from tests.support.meshes import GRPC, PROXIES, certified, everything
from tests.support.pki import Authority
from tests.support.served import MESSAGES, resources_of

OWN_ADDRESSES = ("10.0.0.1/32", "fd00::1/128")
"""Of the workload whose listeners are really bound."""


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    authority = Authority()
    leaf = authority.leaf("spiffe://cluster.local/ns/default/sa/client")
    return certified(everything(), authority.root.bundle, leaf.chain, leaf.key)


@pytest.mark.envoy
@pytest.mark.netns
@pytest.mark.parametrize("kind", [kind for kind in PROXIES if PROXIES[kind] is not GRPC])
def test_envoy_takes_everything(mesh: Mesh, kind: str, tmp_path: Path) -> None:
    proxy = PROXIES[kind]
    served = {type_url: resources_of(mesh, proxy, type_url) for type_url in MESSAGES}
    loaded = load(served, node_id=proxy.id, directory=tmp_path, addresses=OWN_ADDRESSES)
    assert loaded.refused == []
    assert loaded.rejected == {}
    assert loaded.warming == {}
    assert loaded.clusters == set(served[CDS])
    assert loaded.listeners == set(served[LDS])
    assert loaded.seconds < 10, "something was waited for in vain: an initial fetch that is never answered takes 15 s"
