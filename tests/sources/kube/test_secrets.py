"""Secrets as claims, without I/O: told of each change as it comes."""

import base64
import json
import time
from typing import Any

import msgspec
import pytest

from steersman.model.ids import ClusterID
from steersman.settings import NOTHING
from steersman.sources.contents import run
from steersman.sources.kube import secrets as module
from steersman.sources.kube.reflector import Begin, Change, Complete, Put, Remove
from steersman.sources.kube.registrations import MOST_KEYS, Claim
from steersman.sources.kube.secrets import Secrets
from steersman.sources.kube.wire import Head
from tests.support.apiserver.double import kubeconfig

GOOD = json.dumps(kubeconfig("https://west:6443", "", "t0ken", "west"))


def put(name: str, data: Any, **metadata: Any) -> Put:
    written = {
        "name": name,
        "namespace": "root",
        "uid": "u",
        "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        **metadata,
    }
    return Put(msgspec.Raw(json.dumps({"metadata": written, "data": data}).encode()))


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def told(secrets: Secrets, *changes: Change) -> Secrets:
    run(secrets.take(list(changes), time.time()))
    return secrets


def whole(*changes: Change) -> Secrets:
    return told(Secrets(ClusterID("east"), NOTHING), Begin(), *changes, Complete())


def only(secrets: Secrets) -> Claim:
    claims = secrets.claims()
    assert claims is not None
    (claim,) = claims
    return claim


def test_nothing_is_claimed_before_everything_was_told_and_then_all_once() -> None:
    secrets = told(Secrets(ClusterID("east"), NOTHING), Begin(), put("a", {"west": encoded(GOOD)}))
    assert secrets.claims() is None
    told(secrets, Complete())
    claim = only(secrets)
    assert (claim.cluster, claim.place, claim.uid, claim.refusal) == ("west", "Secret east/root/a, key west", "u", "")
    assert claim.order == ("1", "2026-01-01T00:00:00Z", "east", "root", "a", "west")
    assert secrets.claims() is None
    assert secrets.facts() == []
    assert "t0ken" not in repr(claim)


def test_a_cluster_without_such_secrets_says_so() -> None:
    assert whole().claims() == []


def test_what_is_told_again_is_no_change_and_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = whole(put("a", {"west": encoded(GOOD)}))
    before = only(secrets)
    monkeypatch.setattr(module, "restricted", None)
    told(secrets, put("a", {"west": encoded(GOOD)}, resourceVersion="2"), Begin(), put("a", {"west": encoded(GOOD)}), Complete())
    assert secrets.claims() is None
    told(secrets, put("a", {"west": encoded(GOOD)}, uid="another"))
    after = only(secrets)
    assert after.kubeconfig is before.kubeconfig
    assert after.owner != before.owner


@pytest.mark.parametrize("gone", [[Remove(Head("a", "root", "u", "2", False))], [Begin(), Complete()], [put("a", None)]])
def test_a_secret_that_is_gone_claims_nothing(gone: list[Change]) -> None:
    secrets = whole(put("a", {"west": encoded(GOOD)}))
    assert len(secrets.claims() or ()) == 1
    assert told(secrets, *gone).claims() == []


@pytest.mark.parametrize("value", ["", "%%%", "QQ", encoded("}{"), encoded("a: &a [*a]")])
def test_a_value_that_is_no_kubeconfig_is_a_claim_with_a_refusal(value: str) -> None:
    claims = {claim.cluster: claim for claim in whole(put("a", {"bad": value, "west": encoded(GOOD)})).claims() or ()}
    assert claims["bad"].kubeconfig is None
    assert claims["bad"].refusal
    assert claims["west"].kubeconfig is not None


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"metadata":{"name":"a"},"data":[1]}', b'{"metadata":{"name":"a"},"data":{"west":5}}', b"\xff"]
)
def test_what_is_no_secret_is_passed_over(body: bytes) -> None:
    assert whole(Put(msgspec.Raw(body))).claims() == []


def test_of_a_flood_no_more_is_read_than_counts_and_the_loop_gets_a_turn_after_each_key() -> None:
    secrets = Secrets(ClusterID("east"), NOTHING)
    steps = sum(1 for _ in secrets.take([Begin(), put("a", {f"k{number:05}": "QQ==" for number in range(5000)}), Complete()], 0.0))
    assert len(secrets.claims() or ()) == MOST_KEYS + 1
    assert steps > MOST_KEYS
