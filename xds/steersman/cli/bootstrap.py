"""steersman bootstrap: what an Envoy starts with."""

import argparse

from steersman.cli.parser import Commands, add_output, command
from steersman.errors import ConfigError


def add_parser(commands: Commands) -> None:
    parser = command(
        commands,
        "bootstrap",
        run,
        summary="print the configuration an Envoy starts with",
        text="""
            Prints an Envoy bootstrap: who the proxy is (its Node) and where its control plane is. All else comes over ADS. JSON is the
            default, since Envoy takes it from a file that ends in .json or .yaml alike.

            The id has the form TYPE~IP~NAME.NAMESPACE~DOMAIN, with TYPE `sidecar` or `router`. An Envoy with any other id is served as
            a sidecar, in namespace `default` unless --namespace says another. What is left out here is worked out by the control plane
            from the proxy's pod and cluster; `steersman explain` says how.

            An Envoy whose Node has none of the metadata that this writes is a bare one, whatever its id: a sidecar in namespace
            `default` that binds its own outbound listeners and has no inbound ones. """,
        example="""
            steersman bootstrap --id sidecar~10.0.0.5~reviews-v1.default~cluster.local --cluster east --xds 192.0.2.9:15010 > reviews.json
            envoy --config-path reviews.json
            """,
    )
    parser.add_argument("--id", required=True, help="node id: TYPE~IP~NAME.NAMESPACE~DOMAIN")
    parser.add_argument(
        "--xds", default="127.0.0.1:15010", metavar="ADDRESS", help="control plane: HOST:PORT or unix:PATH (default: %(default)s)"
    )
    parser.add_argument(
        "--admin", default="127.0.0.1:15000", metavar="ADDRESS", help="Envoy's own admin address, or `none` (default: %(default)s)"
    )
    parser.add_argument("--mode", choices=("delta", "sotw"), default="delta", help="ADS protocol (default: %(default)s)")
    parser.add_argument(
        "--load-reports", action="store_true", help="report to the control plane what is sent where: metrics and `explain` show it"
    )
    node = parser.add_argument_group("the Node")
    node.add_argument("--cluster", default="", metavar="NAME", help="Kubernetes cluster (metadata CLUSTER_ID)")
    node.add_argument("--network", default="", metavar="NAME", help="network (NETWORK)")
    node.add_argument("--namespace", default="", metavar="NAME", help="namespace (NAMESPACE); else the id's")
    node.add_argument("--region", default="", help="locality")
    node.add_argument("--zone", default="", help="locality")
    node.add_argument("--subzone", default="", help="locality")
    node.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="a label of the workload (LABELS); repeatable")
    node.add_argument("--service-account", default="", metavar="NAME", help="whose certificate it is given (SERVICE_ACCOUNT)")
    node.add_argument("--workload", default="", metavar="NAME", help="its Deployment or the like (WORKLOAD_NAME, and Envoy's node.cluster)")
    node.add_argument("--instance-ip", action="append", default=[], metavar="IP", help="an address of its own (INSTANCE_IPS); repeatable")
    node.add_argument(
        "--network-view", action="append", default=[], metavar="NETWORK", help="see only this network (REQUESTED_NETWORK_VIEW); repeatable"
    )
    node.add_argument(
        "--interception",
        choices=("REDIRECT", "TPROXY", "NONE"),
        default="REDIRECT",
        help="how traffic gets into it; NONE: clients connect to listeners that are really bound (default: %(default)s)",
    )
    node.add_argument("--generator", choices=("grpc",), default="", help="grpc: resources for a proxyless gRPC client (GENERATOR)")
    node.add_argument(
        "--outbound-address", default="", metavar="IP", help="with NONE: where outbound listeners are bound (OUTBOUND_ADDRESS)"
    )
    node.add_argument("--app-address", default="", metavar="IP", help="with NONE: where the application listens (APP_ADDRESS)")
    node.add_argument("--unprivileged-ports", action="store_true", help="with NONE: ports under 1024 can be bound (UNPRIVILEGED_PORTS)")
    node.add_argument(
        "--on-demand-clusters", action="store_true", help="a sidecar with delta: fetch a cluster when it is called (ON_DEMAND_CLUSTERS)"
    )
    add_output(parser, ("json", "yaml"), "json")


def run(args: argparse.Namespace) -> int:
    from steersman.cli.output import note, show, structured
    from steersman.errors import InvalidObject
    from steersman.model.ids import Locality
    from steersman.model.proxy import Interception
    from steersman.names import parse_node_id
    from steersman.server.bootstrap import Mode, envoy_bootstrap, node_metadata

    labels: dict[str, str] = {}
    for label in args.label:
        key, equals, value = label.partition("=")
        if not key or not equals:
            raise ConfigError("bootstrap", "--label", label, "KEY=VALUE")
        labels[key] = value
    for option, addresses in (
        ("--instance-ip", args.instance_ip),
        ("--outbound-address", [args.outbound_address] if args.outbound_address else []),
        ("--app-address", [args.app_address] if args.app_address else []),
    ):
        for address in addresses:
            _check_ip(option, address)
    try:
        parse_node_id(args.id)
    except InvalidObject as error:
        note(f"steersman: note: {error}; it will be served as a sidecar in namespace {args.namespace or 'default'}")
    bootstrap = envoy_bootstrap(
        node_id=args.id,
        xds=args.xds,
        admin=None if args.admin == "none" else args.admin,
        mode=Mode(args.mode),
        node_cluster=args.workload,
        load_reports=args.load_reports,
        locality=Locality(args.region, args.zone, args.subzone),
        metadata=node_metadata(
            cluster=args.cluster,
            network=args.network,
            namespace=args.namespace,
            labels=labels,
            service_account=args.service_account,
            workload=args.workload,
            instance_ips=args.instance_ip,
            network_view=args.network_view,
            interception=Interception(args.interception),
            generator=args.generator,
            outbound_address=args.outbound_address,
            app_address=args.app_address,
            unprivileged_ports=args.unprivileged_ports,
            on_demand_clusters=args.on_demand_clusters,
        ),
    )
    show(structured(bootstrap, args.output))
    return 0


def _check_ip(option: str, text: str) -> None:
    from ipaddress import ip_address

    try:
        ip_address(text)
    except ValueError:
        raise ConfigError("bootstrap", option, text, "an IP address") from None
