"""steersman clusters: how each cluster stands."""

import argparse
import time
from typing import TYPE_CHECKING

from steersman.cli.parser import Commands, add_output, add_server, command

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from steersman.admin import inspect_pb2 as pb

COLUMNS = ("NAME", "KIND", "STATE", "SINCE", "CONTACT", "OBJECTS", "HELD", "OUTAGE POLICY", "SERVER", "FROM")
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def add_parser(commands: Commands) -> None:
    parser = command(
        commands,
        "clusters",
        run,
        summary="list the clusters and how each stands",
        text="""
            Lists the clusters of a running server. STATE: SYNCED; SYNCING until everything was told; FORBIDDEN where resources may not
            be read, or aren't served; STALE, UNAUTHORISED or UNREACHABLE while what was told last stands. CONTACT: how long ago all was
            well with its API. HELD: endpoints that it lists no longer, and that the removal guard holds. OUTAGE POLICY: what becomes of
            the endpoints after how long a silence, with a star while it holds. FROM: the configuration, or the kubeconfig's file or Secret
            that it was registered by. What is wrong is told below, resource by resource. -o json has all of it.

            Exit code 1: a cluster is not SYNCED, or a removal of it is held.
            """,
        example="""
            steersman clusters
            steersman clusters -o yaml
            """,
    )
    add_server(parser)
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    from steersman.admin import inspect_pb2 as pb
    from steersman.admin.protojson import as_dict
    from steersman.cli.client import connected
    from steersman.cli.output import show, structured, table

    with connected(args.server) as client:
        answer = client.clusters()
    if args.output != "table":
        show(structured([as_dict(cluster) for cluster in answer.clusters], args.output))
    else:
        now = time.time()
        show(table(COLUMNS, (_row(cluster, now) for cluster in answer.clusters)))
        for cluster in answer.clusters:
            show(_troubles(cluster, now))
    return 1 if any(cluster.state != pb.Cluster.SYNCED or cluster.held for cluster in answer.clusters) else 0


def _row(cluster: "pb.Cluster", now: float) -> tuple[str, ...]:
    from steersman.admin import inspect_pb2 as pb

    return (
        cluster.name,
        cluster.kind,
        pb.Cluster.State.Name(cluster.state),
        _age(cluster.since, now) if cluster.HasField("since") else "",
        _age(cluster.contact, now) if cluster.HasField("contact") else "",
        str(cluster.objects),
        str(cluster.held_endpoints) if cluster.kind == "kubernetes" else "",
        _policy(cluster),
        cluster.server or ("" if cluster.registered_by else cluster.place),
        cluster.registered_by or "configuration",
    )


def _policy(cluster: "pb.Cluster") -> str:
    if cluster.outage_policy in ("", "keep"):
        return cluster.outage_policy
    return f"{cluster.outage_policy} after {duration(cluster.outage_after)}{' *' if cluster.outage else ''}"


def _troubles(cluster: "pb.Cluster", now: float) -> str:
    """What is wrong, in the API server's words where they are known; of each resource only what isn't said of the cluster already."""
    said = [one for one in cluster.resources if one.problem and one.problem not in cluster.problem]
    wrong = [one for one in said if not (one.optional and one.state == "missing")]
    unused = f"its new credentials can't be used: {cluster.credentials_unused}" if cluster.credentials_unused else ""
    otherwise = "not all of it can be followed" if wrong else "it is being read again"
    lines = []
    if cluster.problem or wrong or unused or cluster.HasField("warm"):
        lines.append(f"\n{cluster.name}: {cluster.problem or unused or otherwise}\n")
    if cluster.problem and unused:
        lines.append(f"  {unused}\n")
    if cluster.HasField("warm"):
        warm = ", ".join(f"{one.warm} {one.name}" for one in cluster.resources if one.warm)
        lines.append(f"  from its warm file, {_age(cluster.warm, now)} old: {warm}\n")
    lines += [f"  {one.name} is {one.state}: {one.problem}\n" for one in wrong]
    if cluster.held:
        lines.append(f"\n{cluster.name}: a mass removal is held; `steersman release {cluster.name}` lets go of it\n")
        lines += [f"  {held.object}: {held.count} held until {held.until.ToJsonString()}: {held.cause}\n" for held in cluster.held]
    return "".join(lines)


def _age(stamp: "Timestamp", now: float) -> str:
    return duration(max(0.0, now - stamp.ToNanoseconds() / 1e9))


def duration(seconds: float) -> str:
    """In the largest unit that fits and the next, as kubectl prints ages: 3m5s, 2h, 4d7h."""
    left = round(seconds)
    for place, (unit, size) in enumerate(_UNITS):
        if left >= size:
            count, rest = divmod(left, size)
            smaller, below = _UNITS[place + 1] if place + 1 < len(_UNITS) else ("", 1)
            return f"{count}{unit}" + (f"{rest // below}{smaller}" if smaller and rest >= below else "")
    return "0s"
