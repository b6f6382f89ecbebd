"""Secrets: pending until signed, and fit to be shown without their keys."""

from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from steersman.model.facts import Leaf, LeafKey, Origin, Root, Upsert
from steersman.model.ids import ClusterID, SpiffeID
from steersman.model.objects import Kind
from steersman.registry.collections import LEAVES
from steersman.resources.collections import LEAF_SECRETS, ROOT_SECRETS
from steersman.resources.resource import of_private
from steersman.resources.secrets import REDACTED, redacted
from tests.support.mesh import Mesh
from tests.support.pgv import problems

WHO = LeafKey(ClusterID("east"), SpiffeID("spiffe://cluster.local/ns/default/sa/client"))
ORIGIN = Origin(source="ca")


def signed(chain: bytes = b"chain", key: bytes = b"secret") -> Upsert:
    return Upsert(kind=Kind.LEAF, key=WHO, value=Leaf(chain=chain, key=key), origin=ORIGIN)


def test_a_leaf_is_asked_for_by_being_read_and_pending_until_it_is_signed() -> None:
    mesh = Mesh()
    assert mesh.ask(LEAF_SECRETS, WHO) is None
    assert mesh.pipeline.graph.wanted(LEAVES) == {WHO}
    mesh.tell(signed())
    secret = mesh.ask(LEAF_SECRETS, WHO)
    assert secret is not None
    message = Secret.FromString(secret.body)
    assert problems(message) == []
    assert message.name == secret.name == "default"
    assert message.tls_certificate.certificate_chain.inline_bytes == b"chain"
    assert message.tls_certificate.private_key.inline_bytes == b"secret"


def test_a_leaf_signed_anew_is_another_version_and_the_same_one_is_not() -> None:
    mesh = Mesh()
    mesh.tell(signed())
    first = mesh.ask(LEAF_SECRETS, WHO)
    mesh.tell(signed())
    assert mesh.ask(LEAF_SECRETS, WHO) is first
    mesh.tell(signed(chain=b"later"))
    second = mesh.ask(LEAF_SECRETS, WHO)
    assert first is not None
    assert second is not None
    assert second.version != first.version


def test_the_version_of_a_leaf_which_is_shown_to_everyone_is_no_key_to_it() -> None:
    mesh = Mesh()
    mesh.tell(signed())
    secret = mesh.ask(LEAF_SECRETS, WHO)
    assert secret is not None
    assert secret == of_private("default", Secret.FromString(secret.body))


def test_the_roots_are_pending_until_there_is_a_ca() -> None:
    mesh = Mesh()
    assert mesh.ask(ROOT_SECRETS, "") is None
    mesh.tell(Upsert(kind=Kind.ROOT, key="", value=Root(bundle=b"roots"), origin=ORIGIN))
    secret = mesh.ask(ROOT_SECRETS, "")
    assert secret is not None
    message = Secret.FromString(secret.body)
    assert problems(message) == []
    assert (message.name, message.validation_context.trusted_ca.inline_bytes) == ("ROOTCA", b"roots")


def test_what_is_shown_of_a_secret_is_all_but_the_private_key() -> None:
    mesh = Mesh()
    mesh.tell(signed())
    secret = mesh.ask(LEAF_SECRETS, WHO)
    assert secret is not None
    whole = Secret.FromString(secret.body)
    shown = redacted(whole)
    assert b"secret" not in shown.SerializeToString()
    assert shown.tls_certificate.private_key.inline_bytes == REDACTED
    assert shown.tls_certificate.certificate_chain.inline_bytes == b"chain"
    assert whole.tls_certificate.private_key.inline_bytes == b"secret"
    root = Secret(name="ROOTCA")
    root.validation_context.trusted_ca.inline_bytes = b"roots"
    assert redacted(root) == root
