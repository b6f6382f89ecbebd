"""mTLS between workloads: who we are and whom we accept come over SDS, so that a rotated certificate changes no cluster and no listener."""

from collections.abc import Iterable

from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2 import RawBuffer
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import CertificateValidationContext, SubjectAltNameMatcher, TlsParameters
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, DownstreamTlsContext, UpstreamTlsContext
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.wrappers_pb2 import BoolValue

from steersman.model.mesh import Identities
from steersman.names import SECRET_LEAF, SECRET_ROOT
from steersman.resources.messages import over_ads, packed

TLS_SOCKET = "envoy.transport_sockets.tls"
PLAINTEXT_SOCKET = "envoy.transport_sockets.raw_buffer"

NOBODY = "spiffe://nobody.invalid"
"""A URI that no certificate holds: `.invalid` is reserved, and an identity of ours names a namespace and a service account."""

MESH_ALPN = ("istio-peer-exchange", "istio")
"""What a client in the mesh offers, HTTP/2 or not; a gateway's passthrough chains and a sidecar's inbound chain know it by these."""
MESH_ALPN_HTTP2 = (*MESH_ALPN, "h2")


def mesh_tls(alpn: Iterable[str], peers: Iterable[StringMatcher]) -> CommonTlsContext:
    """TLS with the workload's own certificate, for a peer whose certificate comes from a root of the mesh and holds a URI that one of
    `peers` matches; no `peers`: any workload of the mesh. ALPN in order of preference."""
    return CommonTlsContext(
        tls_params=TlsParameters(
            tls_minimum_protocol_version=TlsParameters.TlsProtocol.TLSv1_2, tls_maximum_protocol_version=TlsParameters.TlsProtocol.TLSv1_3
        ),
        alpn_protocols=alpn,
        tls_certificate_sds_secret_configs=[SdsSecretConfig(name=SECRET_LEAF, sds_config=over_ads())],
        combined_validation_context=CommonTlsContext.CombinedCertificateValidationContext(
            default_validation_context=CertificateValidationContext(
                match_typed_subject_alt_names=[
                    SubjectAltNameMatcher(san_type=SubjectAltNameMatcher.SanType.URI, matcher=matcher) for matcher in peers
                ]
            ),
            validation_context_sds_secret_config=SdsSecretConfig(name=SECRET_ROOT, sds_config=over_ads()),
        ),
    )


def accepted(identities: Identities) -> tuple[str, ...]:
    """The URIs by which a service's workloads are accepted, sorted as they are there, never none: an empty list would accept anyone
    of the mesh, so where no identity is known, or one is unknown, NOBODY stands for it (rule 11)."""
    if identities.unknown or not identities.sans:
        return (*identities.sans, NOBODY)
    return identities.sans


def upstream_tls(sni: str, alpn: Iterable[str], identities: Identities) -> TransportSocket:
    """How a client calls a service's mTLS endpoints. `sni` is what a gateway on the way routes by."""
    peers = (StringMatcher(exact=identity) for identity in accepted(identities))
    return TransportSocket(name=TLS_SOCKET, typed_config=packed(UpstreamTlsContext(common_tls_context=mesh_tls(alpn, peers), sni=sni)))


def plaintext() -> TransportSocket:
    return TransportSocket(name=PLAINTEXT_SOCKET, typed_config=packed(RawBuffer()))


def downstream_tls(alpn: Iterable[str], trust_domains: Iterable[str]) -> TransportSocket:
    """How a workload is called: with a client certificate, of any workload of these trust domains, or not at all."""
    peers = (StringMatcher(prefix=f"spiffe://{domain}/") for domain in trust_domains)
    context = DownstreamTlsContext(common_tls_context=mesh_tls(alpn, peers), require_client_certificate=BoolValue(value=True))
    return TransportSocket(name=TLS_SOCKET, typed_config=packed(context))
