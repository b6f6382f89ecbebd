"""Which resources the options of proxy-config let through."""

import argparse
from typing import Any

from envoy.config.core.v3.health_check_pb2 import HealthStatus

from steersman.names import parse_cluster


def wanted(kind: str, message: Any, args: argparse.Namespace) -> bool:
    """Whether the options let this resource through. One that isn't there yet (None) has nothing that an option could ask about."""
    if message is None:
        return True
    match kind:
        case "cds":
            return _cluster(message.name, args)
        case "eds":
            return option(args, "cluster") in (None, message.cluster_name)
        case "lds":
            return _listener(message, args)
        case "rds":
            return option(args, "name") in (None, message.name)
        case _:
            return True


def option(args: argparse.Namespace, name: str) -> Any:
    """The value of an option; None where it isn't given, or where TYPE has no such option."""
    return getattr(args, name, None)


def _cluster(name: str, args: argparse.Namespace) -> bool:
    asked = {field: option(args, field) for field in ("direction", "port", "subset")} | {"host": option(args, "fqdn")}
    parsed = parse_cluster(name)
    if parsed is None:
        return all(value is None for value in asked.values()) or asked == {"direction": None, "port": None, "subset": None, "host": name}
    return all(value is None or getattr(parsed, field) == value for field, value in asked.items())


def _listener(message: Any, args: argparse.Namespace) -> bool:
    addresses = [message.address, *(more.address for more in message.additional_addresses)]
    sockets = [address.socket_address for address in addresses]
    return option(args, "address") in (None, *(socket.address for socket in sockets)) and option(args, "port") in (
        None,
        *(socket.port_value for socket in sockets),
    )


def narrow_endpoints(assignment: Any, args: argparse.Namespace) -> None:
    """Takes out of a ClusterLoadAssignment the endpoints that the options don't let through, and localities without any left."""
    asked = {name: value for name in ("address", "port", "status") if (value := option(args, name)) is not None}
    if not asked:
        return
    for group in list(assignment.endpoints):
        kept = [member for member in group.lb_endpoints if _endpoint(member, asked)]
        del group.lb_endpoints[:]
        group.lb_endpoints.extend(kept)
    groups = [group for group in assignment.endpoints if group.lb_endpoints]
    del assignment.endpoints[:]
    assignment.endpoints.extend(groups)


def _endpoint(member: Any, asked: dict[str, Any]) -> bool:
    socket = member.endpoint.address.socket_address
    found = {"address": socket.address, "port": socket.port_value, "status": health_of(member)}
    return all(found[name] == value for name, value in asked.items())


def health_of(member: Any) -> str:
    """The health that an LbEndpoint is given: one that is given none counts as healthy."""
    health: str = HealthStatus.Name(member.health_status)
    return "HEALTHY" if health == "UNKNOWN" else health
