"""Which names a resource makes its proxy ask for, or lead to: found in any message by the types that hold names."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.route.v3.route_components_pb2 import RouteAction
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import Rds
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from steersman.names import CDS, EDS, RDS, SDS
from tests.support.pgv import unpacked


class Reference(NamedTuple):
    type_url: str
    name: str


def references(message: Any) -> Iterator[Reference]:
    """Every reference in a message and in all that is in it, Anys unpacked."""
    match message:
        case Cluster():
            if message.HasField("eds_cluster_config"):
                yield Reference(EDS, message.eds_cluster_config.service_name or message.name)
        case RouteAction() | TcpProxy():
            if message.cluster:
                yield Reference(CDS, message.cluster)
        case Rds():
            yield Reference(RDS, message.route_config_name)
        case SdsSecretConfig():
            yield Reference(SDS, message.name)
        case AnyMessage():
            yield from references(unpacked(message))
    for field, value in message.ListFields():
        for one in _values(field, value):
            if isinstance(one, Message):
                yield from references(one)


def _values(field: Any, value: Any) -> Iterator[Any]:
    if not field.is_repeated:
        yield value
    elif field.message_type is not None and field.message_type.GetOptions().map_entry:
        yield from value.values()
    else:
        yield from value
