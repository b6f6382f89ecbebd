from hashlib import blake2b

from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from steersman.resources.resource import of_parts, of_private


def test_a_version_is_the_same_on_every_machine_and_however_the_content_is_parted() -> None:
    assert of_parts("a", (b"abc",)).version == of_parts("b", (b"a", b"", b"bc")).version == "78af5f94892f3950"


def test_a_version_is_never_empty() -> None:
    assert len(of_parts("a", ()).version) == 16


def test_the_version_of_what_is_private_tells_nothing_of_it() -> None:
    resource = of_private("a", Secret(name="a"))
    assert resource.body == Secret(name="a").SerializeToString()
    assert resource.version == blake2b(resource.body, digest_size=8).hexdigest() != of_parts("a", resource.parts).version
