"""What a cluster's Secrets with kubeconfigs say, as claims: pure, told of each change as it comes.

Like a mirror, but without facts: what is in a Secret goes to whoever makes credentials of it, and nowhere else.
"""

import binascii
from collections.abc import Iterable
from hashlib import blake2b

import msgspec

from steersman.model.facts import Fact
from steersman.model.ids import ClusterID
from steersman.settings import Allowed
from steersman.sources import shapes
from steersman.sources.contents import Steps
from steersman.sources.kube.kubeconfig import BadKubeconfig, Kubeconfig, restricted
from steersman.sources.kube.reflector import Begin, Change, Complete, Put, Remove
from steersman.sources.kube.registrations import MOST_KEYS, Claim
from steersman.sources.kube.wire import Events

_Name = tuple[str, str]


_secret = msgspec.json.Decoder(shapes.Secret)


class Secrets:
    """The Secrets that are asked for of one cluster. `allow`: what kubeconfigs in them may use. `whole`: everything was taken in once."""

    def __init__(self, cluster: ClusterID, allow: Allowed) -> None:
        self._allow = allow
        self.cluster = cluster
        self.whole = False
        self._held: dict[_Name, tuple[Claim, ...]] = {}
        self._put: set[_Name] | None = None
        self._changed = False

    def __len__(self) -> int:
        return len(self._held)

    @property
    def in_parts(self) -> bool:
        """Never is what has come so far to be told before the rest."""
        return False

    def events(self) -> Events:
        """What reads the lines of their watch."""
        return Events(shapes.Secret)

    def take(self, changes: Iterable[Change], seen: float) -> Steps[None]:
        """Takes changes in; pauses after each object."""
        for change in changes:
            match change:
                case Begin():
                    self._put = set()
                case Put():
                    yield from self._hold(change.body)
                case Remove():
                    self._changed = self._held.pop((change.head.namespace, change.head.name), None) is not None or self._changed
                case Complete():
                    put, self._put = self._put or set(), None
                    self._changed = self._changed or not self.whole or not self._held.keys() <= put
                    self._held = {name: claims for name, claims in self._held.items() if name in put}
                    self.whole = True
            yield

    def facts(self) -> list[Fact]:
        """There are none."""
        return []

    def claims(self) -> list[Claim] | None:
        """All that is claimed, where that has changed since this was asked last; None where it hasn't, and before everything was told."""
        if not (self.whole and self._changed):
            return None
        self._changed = False
        return [claim for claims in self._held.values() for claim in claims]

    def _hold(self, body: msgspec.Raw | shapes.Object) -> Steps[None]:
        """Pauses after each key: a kubeconfig that is as large as it may be takes ten milliseconds."""
        if isinstance(body, shapes.Secret):
            secret = body
        else:
            assert isinstance(body, msgspec.Raw)
            try:
                secret = _secret.decode(body)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                return  # no API server sends another
        metadata = secret.metadata
        name = (metadata.namespace or "", metadata.name or "")
        if self._put is not None:
            self._put.add(name)
        before = {claim.cluster: claim for claim in self._held.get(name, ())}
        claims = []
        for key, value in sorted((secret.data or {}).items())[: MOST_KEYS + 1]:  # that there are more than that is all that counts
            claims.append(self._claim(metadata, key, value, before.get(key)))
            yield
        if self._held.get(name) != tuple(claims):
            self._held[name] = tuple(claims)
            self._changed = True

    def _claim(self, metadata: shapes.Metadata, key: str, value: str, before: Claim | None) -> Claim:
        """`before`: what the key said last."""
        try:
            text = binascii.a2b_base64(value)
        except ValueError:
            text = b""
        namespace, name = metadata.namespace or "", metadata.name or ""
        version = blake2b(text, digest_size=16).hexdigest()
        if before is not None and before.version == version:
            kubeconfig, refusal = before.kubeconfig, before.refusal
        else:
            kubeconfig, refusal = self._taken(text)
        return Claim(
            cluster=key,
            place=f"Secret {self.cluster}/{namespace}/{name}, key {key}",
            order=("1", metadata.creation_timestamp or "", self.cluster, namespace, name, key),
            uid=metadata.uid or "",
            holder=self.cluster,
            version=version,
            kubeconfig=kubeconfig,
            refusal=refusal,
        )

    def _taken(self, text: bytes) -> tuple[Kubeconfig | None, str]:
        try:
            return restricted(text, self._allow), ""
        except BadKubeconfig as error:
            return None, str(error)
