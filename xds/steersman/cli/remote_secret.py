"""steersman remote-secret: the Secret by which one cluster is made known to another."""

import argparse
from typing import TYPE_CHECKING, Any

from steersman.cli.parser import Commands, add_output, command

if TYPE_CHECKING:
    from pathlib import Path

    from steersman.sources.kube.kubeconfig import Kubeconfig

EXPIRY = "8760h"
_LEAST = 600
"""Seconds: less no API server grants."""


def add_parser(commands: Commands) -> None:
    parser = command(
        commands,
        "remote-secret",
        run,
        summary="print the Secret by which a cluster is read from another",
        text="""
            Prints a Secret with a kubeconfig for one cluster: apply it in the root namespace of the cluster that Steersman reads its
            remote clusters from. It is Istio's (`istioctl create-remote-secret`): labelled istio/multiCluster=true, with the cluster's name
            as its key.

            The kubeconfig holds the cluster's CA and a token of a ServiceAccount there that may only read. The account and its rights are
            those of config/kubernetes/rbac.yaml; nothing is written to the cluster unless --create-service-account says so.

            The token comes from the TokenRequest API, so it expires; the API server may grant less than --duration, and what it granted is
            said. Before then, run this again and apply what it prints: Steersman takes the new one up without a gap. To take a token back,
            delete the ServiceAccount.

            Exit code 1: no such account, no right to do this, no answer, or the account may not read what is needed (the Secret is printed
            all the same). Exit code 2: the kubeconfig can't be used, or has no such context.
            """,
        example="""
            steersman remote-secret --context west --name west --create-service-account | kubectl --context east apply -f -
            """,
    )
    parser.add_argument("--name", metavar="CLUSTER", required=True, help="the cluster's name, as proxies say it in CLUSTER_ID")
    parser.add_argument(
        "--context", metavar="CONTEXT", default="", help="the kubeconfig's context for that cluster (default: its current one)"
    )
    parser.add_argument("--kubeconfig", metavar="FILE", help="the kubeconfig (default: $KUBECONFIG, else ~/.kube/config)")
    parser.add_argument("--namespace", "-n", metavar="NAMESPACE", default="istio-system", help="of the Secret (default: %(default)s)")
    parser.add_argument("--server", metavar="URL", help="how Steersman reaches the API server (default: as the kubeconfig does)")
    parser.add_argument(
        "--service-account",
        metavar="NAMESPACE/NAME",
        default="steersman/steersman",
        help="whose token it is (default: %(default)s)",
    )
    parser.add_argument("--create-service-account", action="store_true", help="make it, with its rights, where it is missing")
    parser.add_argument("--duration", metavar="TIME", default=EXPIRY, help="how long the token is good for (default: %(default)s)")
    add_output(parser, ("yaml", "json"), "yaml")


def run(args: argparse.Namespace) -> int:
    import asyncio
    import os

    from steersman.cli.errors import WrongUse
    from steersman.cli.output import as_yaml, note, show, structured
    from steersman.settings import values
    from steersman.sources.kube.credentials import read_kubeconfigs
    from steersman.sources.kube.kubeconfig import BadKubeconfig
    from steersman.sources.kube.remote_secret import KEY, remote_kubeconfig, remote_secret
    from steersman.sources.kube.rights import Account

    name = _option("--name", args.name, values.cluster_name)
    if not KEY.fullmatch(name):
        raise WrongUse(f"--name: got {name!r}, expected letters, digits, '-', '_' and '.', as it is the key of a Secret")
    namespace = _option("--namespace", args.namespace, values.dns_label)
    seconds = int(_option("--duration", args.duration, values.duration))
    if seconds < _LEAST:
        raise WrongUse(f"--duration: got {args.duration!r}, expected at least 10m, which is the least that API servers grant")
    account = Account(*(_option("--service-account", part, values.dns_name) for part in _halves(args.service_account)))
    server = _server(args.server) if args.server else ""
    paths = _kubeconfigs(args.kubeconfig)
    place = f"{f'context {args.context}' if args.context else 'the current context'} of {os.pathsep.join(map(str, paths))}"
    try:
        config = read_kubeconfigs(paths, args.context)
        ca_data = _ca_data(config, place)
        token, missing = asyncio.run(_had(config, place, account, seconds, make=args.create_service_account))
    except BadKubeconfig as error:
        raise WrongUse(str(error)) from error
    cluster = config["clusters"][0]["cluster"]
    server = server or cluster["server"]
    kubeconfig = as_yaml(remote_kubeconfig(name, server, ca_data, cluster.get("tls-server-name") or "", token.secret))
    note(f"steersman: note: the token of ServiceAccount {account} expires at {token.expires}; make and apply another before then")
    for text in _remarks(cluster, server, overridden=bool(args.server)):
        note(f"steersman: note: {text}")
    if missing:
        note(
            f"steersman: ServiceAccount {account} may not read {missing} there, so Steersman will not see them: "
            "`kubectl apply -f config/kubernetes/rbac.yaml` in that cluster gives it all that is needed"
        )
    show(structured(remote_secret(name, namespace, kubeconfig), args.output))
    return 1 if missing else 0


async def _had(config: "Kubeconfig", place: str, account: Any, seconds: int, *, make: bool) -> tuple[Any, str]:
    """The token, and what may not be read with it, in words."""
    from steersman.sources.kube.remote import Given, missing_rights, token_of

    token = await token_of(Given(config, place), account, seconds, make=make)
    reader = {**config, "users": [{"name": config["users"][0]["name"], "user": {"token": token.secret}}]}
    return token, ", ".join([resource.name for resource in await missing_rights(Given(reader, place))])


def _remarks(cluster: dict[str, Any], server: str, *, overridden: bool) -> list[str]:
    """What the user should know of how Steersman will reach the cluster."""
    from ipaddress import ip_address
    from urllib.parse import urlsplit

    found = []
    host = urlsplit(server).hostname or ""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if local:
        found.append(f"{server} can only be reached from this machine; name another address of the API server by --server")
    if cluster.get("proxy-url") and not overridden:
        found.append("the kubeconfig's proxy-url is left out, as Steersman need not be where you are")
    return found


def _ca_data(config: "Kubeconfig", place: str) -> str:
    """Base64 of PEM; "" where the authorities that a system trusts are meant. Raises BadKubeconfig."""
    import base64
    from pathlib import Path

    from steersman.sources.kube.kubeconfig import BadKubeconfig

    cluster = config["clusters"][0]["cluster"]
    if data := cluster.get("certificate-authority-data"):
        return str(data)
    if path := cluster.get("certificate-authority"):
        try:
            return base64.b64encode(Path(path).read_bytes()).decode()
        except OSError as error:
            raise BadKubeconfig(f"{place}: certificate-authority {path} can't be read: {error.strerror}") from error
    if cluster.get("insecure-skip-tls-verify"):
        raise BadKubeconfig(
            f"{place}: insecure-skip-tls-verify: a token must not be sent to a server that anyone may be; "
            "give the cluster's certificate-authority instead"
        )
    return ""


def _kubeconfigs(given: str | None) -> "list[Path]":
    import os
    from pathlib import Path

    if given:
        return [Path(given)]
    paths = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return paths or [Path.home() / ".kube" / "config"]


def _halves(account: str) -> tuple[str, str]:
    from steersman.cli.errors import WrongUse

    namespace, slash, name = account.partition("/")
    if not slash:
        raise WrongUse(f"--service-account: got {account!r}, expected NAMESPACE/NAME")
    return namespace, name


def _server(url: str) -> str:
    from steersman.cli.errors import WrongUse

    if not url.startswith("https://") or len(url) <= len("https://"):
        raise WrongUse(f"--server: got {url!r}, expected a URL such as https://192.0.2.1:6443")
    return url.rstrip("/")


def _option(name: str, value: str, read: Any) -> Any:
    from steersman.cli.errors import WrongUse
    from steersman.settings.strict import Wrong

    try:
        return read(value)
    except Wrong as error:
        raise WrongUse(f"{name}: got {value!r}, expected {error}") from error
