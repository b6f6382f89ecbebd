"""steersman render: what a proxy would be sent, without a server."""

import argparse

from steersman.cli.parser import Commands, add_config, add_output, command

KEYS = {"cds": "clusters", "eds": "endpoints", "lds": "listeners", "rds": "routes", "sds": "secrets"}


def add_parser(commands: Commands) -> None:
    parser = command(
        commands,
        "render",
        run,
        summary="print what a proxy would be sent, without a server",
        text="""
            Reads the configuration and the objects of all its clusters once, and prints what a proxy with the given Node would be sent,
            as one object with the keys clusters, endpoints, listeners, routes and secrets: in proto3 JSON with Envoy's own field names,
            each list sorted by name. The bytes are those of a live stream.

            The Node is an envoy.config.core.v3.Node in YAML or JSON. Private keys are redacted, and none is made: a certificate that no
            server has signed yet says so in its place.

            Exit code 2: the configuration or the Node can't be used.
            """,
        example="""
            cat > node.yaml <<'END'
            id: sidecar~10.0.0.5~productpage-v1.default~cluster.local
            metadata: {CLUSTER_ID: east, INTERCEPTION_MODE: NONE}
            END
            steersman render -c config/steersman.yaml --node node.yaml --type eds
            """,
    )
    add_config(parser)
    parser.add_argument("--node", metavar="NODE.yaml", required=True, help="the proxy's Node")
    parser.add_argument("--type", choices=tuple(KEYS), help="only this type; the other lists are empty then")
    add_output(parser, ("yaml", "json"), "yaml")


def run(args: argparse.Namespace) -> int:
    from pathlib import Path
    from typing import Any

    from steersman import names
    from steersman.admin.protojson import as_dict, message_of
    from steersman.cli.node import read_node
    from steersman.cli.offline import offline
    from steersman.cli.output import note, show, structured
    from steersman.model.clusters import moment

    proxy = read_node(Path(args.node))
    mesh = offline(args.config)
    mesh.connect(proxy)
    types = [names.SHORT_TYPES[kind] for kind in ([args.type] if args.type else KEYS)]
    rendered: dict[str, list[dict[str, Any]]] = {key: [] for key in KEYS.values()}
    for type_url, resources in mesh.served(proxy, types).items():
        rendered[KEYS[names.TYPE_NAMES[type_url]]] = [as_dict(message_of(type_url, resource.body)) for resource in resources]
    for cluster, as_of in mesh.warm().items():
        note(f"steersman: note: the API of cluster {cluster} did not tell all, so some is from its warm file, of {moment(as_of)}")
    for name in mesh.unresolved:
        note(f"steersman: note: the gateway hostname {name} was not resolved, so it gives no address here")
    show(structured(rendered, args.output))
    return 0
