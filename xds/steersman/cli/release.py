"""steersman release: believes a mass removal that is held."""

import argparse
from typing import TYPE_CHECKING

from steersman.cli.parser import Commands, add_output, add_server, command

if TYPE_CHECKING:
    from steersman.admin import inspect_pb2 as pb

COLUMNS = ("RELEASED", "COUNT", "OF", "HELD SINCE", "UNTIL", "CAUSE")


def add_parser(commands: Commands) -> None:
    parser = command(
        commands,
        "release",
        run,
        summary="let go of a mass removal that is held",
        text="""
            Lets go of what the removal guard holds of a cluster (endpoints that its API lists no longer, objects that a list lacked; see
            `steersman clusters`), or of one of its services: what is served is what the API lists, at once. What was held is told. To
            release what isn't held does nothing.

            It changes what proxies are sent, so a server takes it from its own machine only, unless its server.inspect.remoteChanges
            is set.

            Exit code 1: there is no such cluster, or the server doesn't take it.
            """,
        example="""
            steersman release east
            steersman release east default/reviews
            """,
    )
    parser.add_argument("cluster", metavar="CLUSTER", help="the cluster's name")
    parser.add_argument("service", metavar="NAMESPACE/SERVICE", nargs="?", default="", help="one service (default: all that is held)")
    add_server(parser)
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    from steersman.admin.protojson import as_dict
    from steersman.cli.client import connected
    from steersman.cli.output import note, show, structured, table

    with connected(args.server) as client:
        released = client.release(args.cluster, args.service).released
    if args.output != "table":
        show(structured([as_dict(held) for held in released], args.output))
    elif released:
        show(table(COLUMNS, (_row(held) for held in released)))
    else:
        note(f"nothing is held of {f'service {args.service} of ' if args.service else ''}cluster {args.cluster}")
    return 0


def _row(held: "pb.HeldRemoval") -> tuple[str, ...]:
    return (
        held.object,
        str(held.count),
        str(held.before),
        held.since.ToJsonString(),
        held.until.ToJsonString(),
        held.cause,
    )
