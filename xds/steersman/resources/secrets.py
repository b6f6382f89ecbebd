"""Secrets: a workload's own certificate, and whom the mesh trusts."""

from envoy.config.core.v3.base_pb2 import DataSource
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import CertificateValidationContext, TlsCertificate
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from steersman.graph import Reader
from steersman.model.facts import LeafKey
from steersman.names import SECRET_LEAF, SECRET_ROOT
from steersman.registry.collections import LEAVES, ROOTS
from steersman.resources.resource import Resource, of_message, of_private

REDACTED = b"[redacted]"
"""What Envoy's own config_dump shows instead of a private key."""


def leaf_secret_of(read: Reader, key: LeafKey) -> Resource | None:
    """`default`; None until the leaf is signed. The read itself is the wish to have it signed."""
    leaf = read(LEAVES, key)
    if leaf is None:
        return None
    certificate = TlsCertificate(certificate_chain=DataSource(inline_bytes=leaf.chain), private_key=DataSource(inline_bytes=leaf.key))
    return of_private(SECRET_LEAF, Secret(name=SECRET_LEAF, tls_certificate=certificate))


def root_secret_of(read: Reader, key: str) -> Resource | None:
    """`ROOTCA`; None until there is a CA. Key: ""."""
    root = read(ROOTS, key)
    if root is None:
        return None
    trust = CertificateValidationContext(trusted_ca=DataSource(inline_bytes=root.bundle))
    return of_message(SECRET_ROOT, Secret(name=SECRET_ROOT, validation_context=trust))


def redacted(secret: Secret) -> Secret:
    """A copy fit to be shown: everything but the private key."""
    shown = Secret()
    shown.CopyFrom(secret)
    if shown.tls_certificate.HasField("private_key"):
        shown.tls_certificate.private_key.CopyFrom(DataSource(inline_bytes=REDACTED))
    return shown
