"""A source that starts while its API server is out of reach, of the double and of the real one: what it had stands, and what happened
meanwhile is told when it is back.
"""

import asyncio
from pathlib import Path

from steersman.model.clusters import ClusterState
from steersman.model.objects import Kind
from steersman.sources.kube.warmstore import WarmDirectory
from tests.support.apiserver.client import Cluster
from tests.support.apiserver.following import CLUSTER, Followed, fresh
from tests.support.apiserver.link import Link
from tests.support.objects import service

WELL = (ClusterState.SYNCED, ClusterState.FORBIDDEN)


async def test_what_was_held_before_a_restart_in_an_outage_stands_and_what_happened_meanwhile_is_all_that_changes(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    kept = WarmDirectory(tmp_path / "warm", 3600.0)
    cluster.apply(*(service(name, {"http": (80, 8080)}, namespace=namespace) for name in ("a", "b", "c")))
    with Link(cluster.address, cluster.port) as link:
        async with Followed(cluster, tmp_path, link=link, kept=kept) as first:
            await first.until(lambda: first.synced and first.services(namespace) == {"a", "b", "c"})
            before = first.objects()
        await asyncio.to_thread(link.cut)
        async with Followed(cluster, tmp_path, link=link, kept=kept) as second:
            await second.until(lambda: second.objects())
            assert second.objects() == before
            assert not second.synced
            await second.until(lambda: second.status().state is ClusterState.UNREACHABLE)
            assert second.status().since == second.status().warm == second.status().contact
            cluster.delete("Service", "b", namespace)
            cluster.apply(service("d", {"http": (80, 8080)}, namespace=namespace))
            cluster.compact()
            told = len(second.log)
            await asyncio.to_thread(link.mend)
            await second.until(lambda: second.synced)
            changed = {(kind, key) for kind, key in before.keys() ^ second.objects().keys() if key.namespace == namespace}
            assert {(kind, key.name) for kind, key in changed} == {(Kind.SERVICE, "b"), (Kind.SERVICE, "d")}
            assert [one for one in second.about(Kind.SERVICE, namespace, start=told) if one[0] == "delete"] == [("delete", "b")]
            await second.until(lambda: second.status().state in WELL and not second.status().warm)
            assert second.objects() == await fresh(cluster, tmp_path / "fresh")
    assert kept.file(CLUSTER).exists()
