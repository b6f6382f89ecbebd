"""steersman proxies: who is connected, and how far each is."""

import argparse
from typing import TYPE_CHECKING

from steersman.cli.parser import Commands, add_output, add_server, command

if TYPE_CHECKING:
    from collections.abc import Iterable

    from steersman.admin import inspect_pb2 as pb

COLUMNS = ("NAME", "CLUSTER", "CDS", "LDS", "EDS", "RDS", "SDS", "STEERSMAN", "VERSION")
TYPES = ("cds", "lds", "eds", "rds", "sds")
SHOWN = 10
"""Refusals told below the table, and resources of each."""


def add_parser(commands: Commands) -> None:
    parser = command(
        commands,
        "proxies",
        run,
        alias=("ps",),
        summary="list the connected proxies and how far each is with each type",
        text="""
            Lists the connected proxies, as `istioctl proxy-status` does. For each resource type: SYNCED when everything sent was
            acknowledged, STALE while a response or its acknowledgement is on its way, ERROR when the proxy refused the last response,
            NOT SENT, or - when it never asked for the type. A proxy that asks over several streams stands in one row. What is refused
            is told below, in the proxy's words, with the objects that it was made from. -o json has the details stream by stream.

            Exit code 1: a type of a proxy shown is in ERROR, or no proxy of that name is connected.
            """,
        example="""
            steersman proxies
            steersman proxies reviews-v1.default -o yaml
            """,
    )
    parser.add_argument("proxy", nargs="?", default="", metavar="PROXY", help="only this one: a node id or part of one, or CLUSTER/NAME")
    add_server(parser)
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    from steersman.admin import inspect_pb2 as pb
    from steersman.admin.connected import one_each
    from steersman.admin.protojson import as_dict
    from steersman.cli.client import connected
    from steersman.cli.output import note, show, structured, table

    with connected(args.server) as client:
        answer = client.proxies(args.proxy)
    if args.output != "table":
        show(structured([as_dict(proxy) for proxy in answer.proxies], args.output))
    elif answer.proxies:
        show(table(COLUMNS, (_row(proxy) for proxy in one_each(answer.proxies))))
        for refusal in _refusals(answer.proxies):
            show(f"\n{refusal}\n")
    if answer.proxies:
        return 1 if any(status.sync == pb.TypeStatus.ERROR for proxy in answer.proxies for status in proxy.types) else 0
    if args.output == "table":
        note(f"No connected proxy is called {args.proxy!r}." if args.proxy else "No proxy is connected.")
    return 1 if args.proxy else 0


def _refusals(proxies: "Iterable[pb.Proxy]") -> list[str]:
    """What is refused, each thing once, with who refuses it, what it was made from and why, in the proxy's words."""
    by: dict[tuple[str, bytes], list[str]] = {}
    rejections: dict[tuple[str, bytes], pb.Rejection] = {}
    for proxy in proxies:
        for status in proxy.types:
            if status.HasField("rejection"):
                key = (status.type, status.rejection.SerializeToString(deterministic=True))
                rejections[key] = status.rejection
                by.setdefault(key, []).append(_name(proxy))
    told = [_refusal(kind, rejections[kind, raw], names) for (kind, raw), names in by.items()]
    more = [f"{len(told) - SHOWN} other refusals; -o json has them all."] if len(told) > SHOWN else []
    return told[:SHOWN] + more


def _refusal(kind: str, rejection: "pb.Rejection", proxies: list[str]) -> str:
    others = f" and {len(proxies) - 1} other{'s' if len(proxies) > 2 else ''}" if len(proxies) > 1 else ""
    traced = {one.name: one for one in rejection.resources}
    lines = [f"{proxies[0]}{others} refused {kind} ({rejection.code}): {rejection.message}"]
    for name in rejection.names[:SHOWN]:
        lines.append(f"  {name}")
        if name in traced:
            one = traced[name]
            lines += [f"    made from {made.object}{f' ({made.place})' if made.place else ''}" for made in one.made_from]
            lines += [f"    and {one.others} more objects"] if one.others else []
            lines += ["    which has changed since, or is gone"] if one.changed else []
    if len(rejection.names) > SHOWN:
        lines.append(f"  and {len(rejection.names) - SHOWN} more resources")
    return "\n".join(lines)


def _name(proxy: "pb.Proxy") -> str:
    return f"{proxy.name}.{proxy.namespace}" if proxy.name else proxy.id


def _row(proxy: "pb.Proxy") -> tuple[str, ...]:
    from steersman.admin import inspect_pb2 as pb

    syncs = {status.type: pb.TypeStatus.Sync.Name(status.sync).replace("_", " ") for status in proxy.types}
    return (_name(proxy), proxy.cluster, *(syncs.get(kind, "") for kind in TYPES), proxy.server, proxy.agent)
