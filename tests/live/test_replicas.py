"""Two servers on the same files and the same CA directory say the same, resource for resource."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from steersman.names import CDS, EDS, LDS, RDS, SDS
from tests.live.mesh import CLUSTERS, EAST, WEST, fill
from tests.support.live import ControlPlane, Workload, serving
from tests.support.streams import DeltaStream, node_of, versions_of

PROXIES = (EAST.web, EAST.client, EAST.gateway, WEST.web, WEST.gateway)


def plane_of(directory: Path, shared: Path) -> ControlPlane:
    """With the clusters and the CA of the shared directory."""
    clusters = {name: {**settings, "files": str(shared / name)} for name, settings in CLUSTERS.items()}
    return ControlPlane(directory, clusters, ca={"directory": str(shared / "ca")})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def planes(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ControlPlane, ControlPlane]]:
    """Both start at once, where there is no CA yet."""
    first, second = (plane_of(tmp_path_factory.mktemp("replica"), shared) for _ in range(2))
    fill(first)
    with ExitStack() as stack:
        for plane in (first, second):
            stack.callback(plane.stop)
            plane.start()
        yield first.ready(), second.ready()


@pytest.mark.parametrize("proxy", PROXIES, ids=[one.name for one in PROXIES])
def test_both_give_a_proxy_the_same_resources_of_the_same_versions(planes: tuple[ControlPlane, ControlPlane], proxy: Workload) -> None:
    with DeltaStream(planes[0].xds, node_of(proxy)) as one, DeltaStream(planes[1].xds, node_of(proxy)) as other:
        sent, again = one.everything(), other.everything()
        assert {key: resource.resource.value for key, resource in sent.items()} == {key: one.resource.value for key, one in again.items()}
        assert versions_of(sent) == versions_of(again)
        inspected = [plane.versions(proxy.name) for plane in planes]
    assert inspected[0] == inspected[1]
    assert all(inspected[0].values())
    types = {"cds": CDS, "eds": EDS, "lds": LDS, "rds": RDS, "sds": SDS}
    assert {(types[kind], name): version for (kind, name), version in inspected[0].items()} == versions_of(sent)
    assert {key[0] for key in sent} >= {CDS, EDS, LDS, SDS}


def test_a_proxy_that_changes_from_one_to_the_other_is_sent_nothing(planes: tuple[ControlPlane, ControlPlane]) -> None:
    node = node_of(EAST.web)
    with DeltaStream(planes[0].xds, node) as stream:
        sent = stream.everything()
    with DeltaStream(planes[1].xds, node) as stream:
        for type_url in (CDS, LDS):
            stream.ask(type_url, initial={name: one.version for (kind, name), one in sent.items() if kind == type_url})
            response = stream.response()
            assert (response.type_url, list(response.resources), list(response.removed_resources)) == (type_url, [], [])
            stream.acknowledge(response)
        for type_url in (EDS, RDS, SDS):
            held = {name: one.version for (kind, name), one in sent.items() if kind == type_url}
            stream.ask(type_url, *held, initial=held)
        stream.ask(EDS, "outbound|1||nobody.demo.svc.cluster.local")
        response = stream.response()
        assert (response.type_url, list(response.resources)) == (EDS, []), "the answer to the last question came first"
        assert list(response.removed_resources) == ["outbound|1||nobody.demo.svc.cluster.local"]


def test_a_third_server_that_comes_later_says_the_same(planes: tuple[ControlPlane, ControlPlane], shared: Path, tmp_path: Path) -> None:
    node = node_of(EAST.web)
    with (
        serving(plane_of(tmp_path, shared)) as third,
        DeltaStream(planes[0].xds, node) as one,
        DeltaStream(third.xds, node) as other,
    ):
        assert versions_of(one.everything()) == versions_of(other.everything())
