"""Small messages that several resources are built of."""

from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource, SelfConfigSource
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message


def packed(message: Message) -> Any:
    """The message as an Any, serialised deterministically: what is packed is opaque to the serialiser of the resource around it."""
    packing = Any()
    packing.Pack(message, deterministic=True)
    return packing


def over_ads() -> ConfigSource:
    """ "Ask for it on the same stream." """
    return ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)


def itself() -> ConfigSource:
    """ "The server that this resource came from." """
    return ConfigSource(self=SelfConfigSource(), resource_api_version=ApiVersion.V3)


def tcp_address(address: str, port: int) -> Address:
    """`address`: an IP, unbracketed, or a DNS name where the cluster's type resolves one."""
    return Address(socket_address=SocketAddress(address=address, port_value=port))
