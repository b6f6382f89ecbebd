"""What a cluster's Secrets with kubeconfigs say, as claims: pure, told of each change as it comes.

Like a mirror, but without facts: what is in a Secret goes to whoever makes credentials of it, and nowhere else.
"""

import binascii
from collections.abc import Iterable
from hashlib import blake2b

import msgspec

from steersman.model.facts import Fact
from steersman.model.ids import ClusterID
from steersman.sources import shapes
from steersman.sources.contents import Steps
from steersman.sources.kube.reflector import Begin, Change, Complete, Put, Remove
from steersman.sources.kube.registrations import Claim

_Name = tuple[str, str]


_secret = msgspec.json.Decoder(shapes.Secret)


class Secrets:
    """The Secrets that are asked for of one cluster. `whole`: everything was taken in once, to the last."""

    def __init__(self, cluster: ClusterID) -> None:
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

    def take(self, changes: Iterable[Change], seen: float) -> Steps[None]:
        """Takes changes in; pauses after each object."""
        for change in changes:
            match change:
                case Begin():
                    self._put = set()
                case Put():
                    self._hold(change.body)
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

    def _hold(self, body: msgspec.Raw | shapes.Object) -> None:
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
        claims = tuple(self._claim(metadata, key, value) for key, value in sorted((secret.data or {}).items()))
        if self._held.get(name) != claims:
            self._held[name] = claims
            self._changed = True

    def _claim(self, metadata: shapes.Metadata, key: str, value: str) -> Claim:
        try:
            text = binascii.a2b_base64(value)
        except ValueError:
            text = b""
        namespace, name = metadata.namespace or "", metadata.name or ""
        return Claim(
            cluster=key,
            place=f"Secret {self.cluster}/{namespace}/{name}, key {key}",
            order=("1", metadata.creation_timestamp or "", self.cluster, namespace, name, key),
            uid=metadata.uid or "",
            holder=self.cluster,
            version=blake2b(text, digest_size=16).hexdigest(),
            text=text,
        )
