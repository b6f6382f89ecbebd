"""steersman explain: why a proxy sees the endpoints that it sees."""

import argparse
from typing import TYPE_CHECKING

from steersman.cli.parser import Commands, add_config, add_output, add_server, command

if TYPE_CHECKING:
    from steersman.admin import inspect_pb2 as pb


def add_parser(commands: Commands) -> None:
    parser = command(
        commands,
        "explain",
        run,
        summary="say why a proxy sees which endpoints of a service",
        text="""
            Lists every endpoint that a service has in any cluster: in or out for this proxy, by which rule and because of which
            objects, and through which gateways. docs/split-horizon.md has the rules. Above that: where the proxy stands, and what of it
            was worked out rather than told.

            PROXY is a node id, or any part of one that fits no other connected proxy. Without a server: -c FILE and --node NODE.yaml,
            and no PROXY. SERVICE is NAME, NAME.NAMESPACE or the full host; a bare NAME is looked for in the proxy's namespace first.

            Exit code 1: no such proxy or service, or a port of it has no endpoint for this proxy.
            """,
        example="""
            steersman explain east/productpage-v1 reviews:9080
            steersman explain -c config/steersman.yaml --node node.yaml reviews.default
            """,
    )
    parser.add_argument("proxy", metavar="PROXY", nargs="?", help="a node id, or an unambiguous part of one")
    parser.add_argument("service", metavar="SERVICE[:PORT]", help="NAME, NAME.NAMESPACE or the full host; PORT by number or name")
    add_server(parser)
    add_config(parser, required=False)
    parser.add_argument("--node", metavar="NODE.yaml", help="with -c: the proxy's Node")
    parser.add_argument("--facts", action="store_true", help="list every object that the answer was computed from as well")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    from steersman.admin.protojson import as_dict
    from steersman.cli.errors import WrongUse
    from steersman.cli.explanation import text_of
    from steersman.cli.output import show, structured

    if bool(args.config) != bool(args.node):
        raise WrongUse("explain: -c FILE and --node NODE.yaml go together: with both, no server is asked")
    if args.config and (args.proxy or args.server):
        raise WrongUse("explain: with -c and --node the proxy is that of NODE.yaml; leave PROXY and --server out")
    if not args.config and not args.proxy:
        raise WrongUse("explain: PROXY is missing; steersman explain PROXY SERVICE[:PORT]")
    explanation = _offline(args) if args.config else _live(args)
    show(text_of(explanation, facts=args.facts) if args.output == "table" else structured(as_dict(explanation), args.output))
    return 1 if any(_in_vain(port) for port in explanation.ports) else 0


def _live(args: argparse.Namespace) -> "pb.Explanation":
    from steersman.cli.client import connected

    with connected(args.server) as client:
        return client.explanation(args.proxy, args.service)


def _offline(args: argparse.Namespace) -> "pb.Explanation":
    from pathlib import Path

    from steersman.admin.answers import explained, message_of_explanation
    from steersman.admin.selection import Unclear
    from steersman.cli.errors import WrongUse
    from steersman.cli.node import read_node
    from steersman.cli.offline import offline

    proxy = read_node(Path(args.node))
    mesh = offline(args.config)
    mesh.connect(proxy)
    try:
        return message_of_explanation(explained(mesh.pipeline.graph.ask, mesh.pipeline, proxy, args.service))
    except Unclear as error:
        raise WrongUse(str(error)) from None


def _in_vain(port: "pb.PortExplanation") -> bool:
    return bool(port.candidates) and not any(candidate.admitted for candidate in port.candidates)
