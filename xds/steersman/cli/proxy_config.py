"""steersman proxy-config: the resources of one proxy."""

import argparse
from typing import TYPE_CHECKING, Any

from steersman.cli.parser import Commands, Help, add_output, add_server, command

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from steersman.admin import inspect_pb2 as pb

TYPES = {"cluster": "cds", "endpoint": "eds", "listener": "lds", "route": "rds", "secret": "sds"}
KEYS = {"cds": "clusters", "eds": "endpoints", "lds": "listeners", "rds": "routes", "sds": "secrets"}
"""As `steersman render` calls them."""

_ALIASES = {
    "cluster": ("clusters", "c"),
    "endpoint": ("endpoints", "ep"),
    "listener": ("listeners", "l"),
    "route": ("routes", "r"),
    "secret": ("secrets", "s"),
}
_SUMMARIES = {
    "cluster": "where requests can go",
    "endpoint": "the addresses behind each cluster",
    "listener": "what it listens on, and where that leads",
    "route": "which hosts lead where",
    "secret": "its certificates (never their keys)",
}


def add_parser(commands: Commands) -> None:
    parser = command(
        commands,
        "proxy-config",
        run,
        alias=("pc",),
        summary="show the resources of one proxy",
        text="""
            Shows what a connected proxy stands to be sent, as `istioctl proxy-config` shows what it has: the same nouns and columns.
            `steersman proxies` says whether it has acknowledged all of it. -o json and yaml print the resources themselves, in proto3
            JSON with Envoy's field names.

            PROXY is a node id, or any part of one that fits no other proxy: NAME.NAMESPACE, CLUSTER/NAME.NAMESPACE, NAME, an IP.

            Exit code 1: no such proxy is connected.
            """,
        example="""
            steersman proxy-config clusters reviews-v1.default
            steersman pc endpoints east/productpage-v1 --cluster 'outbound|9080||reviews.default.svc.cluster.local'
            steersman pc listeners reviews-v1.default --port 15006 -o yaml
            """,
    )
    kinds = parser.add_subparsers(title="types", metavar="TYPE", required=True)
    for kind in TYPES:
        _add_type(kinds, kind)
    everything = kinds.add_parser("all", aliases=("a",), help="all of the above", description="Shows all resources.", formatter_class=Help)
    _add_common(everything, "all")


def _add_type(kinds: Commands, kind: str) -> None:
    parser = kinds.add_parser(
        kind,
        aliases=_ALIASES[kind],
        help=_SUMMARIES[kind],
        description=f"Shows a proxy's {KEYS[TYPES[kind]]}: {_SUMMARIES[kind]}.",
        epilog=f"example:\n  steersman proxy-config {kind} reviews-v1.default",
        formatter_class=Help,
    )
    _add_common(parser, kind)
    match kind:
        case "cluster":
            parser.add_argument("--fqdn", metavar="HOST", help="only this service's")
            parser.add_argument("--port", type=int, help="only this port's")
            parser.add_argument("--subset", help="only this subset's")
            parser.add_argument("--direction", choices=("inbound", "outbound"))
        case "endpoint":
            parser.add_argument("--address", metavar="IP", help="only at this address")
            parser.add_argument("--port", type=int, help="only at this port")
            parser.add_argument("--cluster", metavar="NAME", help="only of this cluster")
            parser.add_argument("--status", type=str.upper, metavar="HEALTH", help="only of this health: HEALTHY, DRAINING")
        case "listener":
            parser.add_argument("--address", metavar="IP", help="only at this address")
            parser.add_argument("--port", type=int, help="only at this port")
        case "route":
            parser.add_argument("--name", help="only the route configuration of this name")


def _add_common(parser: argparse.ArgumentParser, kind: str) -> None:
    parser.add_argument("proxy", metavar="PROXY", help="a node id, or an unambiguous part of one")
    parser.set_defaults(kind=kind)
    add_server(parser)
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    from steersman.cli.client import connected
    from steersman.cli.output import show

    types = tuple(TYPES.values()) if args.kind == "all" else (TYPES[args.kind],)
    with connected(args.server) as client:
        answer = client.proxy_config(args.proxy, types)
    show(_tables(answer, args, types) if args.output == "table" else _objects(answer, args, types))
    return 0


def _messages(answer: "pb.GetProxyConfigResponse", args: argparse.Namespace, kind: str) -> list[tuple[str, "Message | None"]]:
    """The resources of a type that the filters let through, by name; None for one that waits for something."""
    from steersman.admin.protojson import message_of
    from steersman.cli.filters import narrow_endpoints, wanted

    found: list[tuple[str, Message | None]] = []
    for resource in answer.resources:
        if resource.type != kind:
            continue
        message = message_of(resource.resource.type_url, resource.resource.value) if resource.version else None
        if not wanted(kind, message, args):
            continue
        if kind == "eds":
            narrow_endpoints(message, args)
        found.append((resource.name, message))
    return found


def _tables(answer: "pb.GetProxyConfigResponse", args: argparse.Namespace, types: tuple[str, ...]) -> str:
    from steersman.cli.output import table
    from steersman.cli.tables import TABLES

    shown = []
    for kind in types:
        columns, rows_of = TABLES[kind]
        rows = [row for name, message in _messages(answer, args, kind) for row in rows_of(name, message)]
        shown.append(table(columns, rows))
    return "\n".join(shown)


def _objects(answer: "pb.GetProxyConfigResponse", args: argparse.Namespace, types: tuple[str, ...]) -> str:
    from steersman.admin.protojson import as_dict
    from steersman.cli.output import structured

    lists: dict[str, list[dict[str, Any]]] = {
        KEYS[kind]: [as_dict(message) for _, message in _messages(answer, args, kind) if message is not None] for kind in types
    }
    return structured(lists if args.kind == "all" else lists[KEYS[types[0]]], args.output)
