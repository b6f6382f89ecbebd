"""Who has a cluster's name: the table of claims, without I/O."""

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steersman.model.facts import Finding
from steersman.model.ids import ClusterID
from steersman.settings import NOTHING
from steersman.sources.kube.kubeconfig import BadKubeconfig, restricted
from steersman.sources.kube.registrations import MOST, MOST_KEYS, Claim, Registrations, remembered
from tests.support.apiserver.double import kubeconfig

GOOD = json.dumps(kubeconfig("https://west:6443", "", "t0ken", "west")).encode()
OTHER = json.dumps(kubeconfig("https://west:6443", "", "0ther", "west")).encode()
BAD = b"}{"


def read(text: bytes) -> dict[str, Any]:
    try:
        return {"kubeconfig": restricted(text, NOTHING)}
    except BadKubeconfig as error:
        return {"refusal": str(error)}


def of_secret(name: str = "a", key: str = "west", text: bytes = GOOD, *, created: str = "2026-01-01T00:00:00Z", uid: str = "u") -> Claim:
    return Claim(
        cluster=key,
        place=f"Secret east/istio-system/{name}, key {key}",
        order=("1", created, "east", "istio-system", name, key),
        uid=uid,
        version=str(hash(text)),
        **read(text),
    )


def of_file(name: str, version: str = "1") -> Claim:
    path = Path("/kubeconfigs") / name
    return Claim(cluster=path.stem, place=str(path), order=("0", name), version=version, file=path)


def told(*claims: Claim, own: tuple[str, ...] = ("east",)) -> Registrations:
    registrations = Registrations([ClusterID(name) for name in own])
    registrations.tell("", [claim for claim in claims if claim.file is not None])
    registrations.tell("east", [claim for claim in claims if claim.file is None])
    return registrations


def findings(registrations: Registrations) -> list[tuple[str, str, str]]:
    """(id, object, place), sorted."""
    return sorted((one.id, one.object, one.place) for one in registrations.findings.values())


def owners(registrations: Registrations) -> dict[str, str]:
    return {name: one.place for name, one in registrations.registrations.items()}


def only(registrations: Registrations) -> Finding:
    (finding,) = registrations.findings.values()
    return finding


def token(registrations: Registrations, name: str = "west") -> Any:
    found = registrations.registrations[ClusterID(name)].kubeconfig
    assert found is not None
    return found["users"][0]["user"]["token"]


def test_files_and_keys_of_secrets_are_clusters() -> None:
    registrations = told(of_file("north.yaml"), of_file("prod.eu.kubeconfig"), of_secret("a", "west"), of_secret("a", "south"))
    assert owners(registrations) == {
        "north": "/kubeconfigs/north.yaml",
        "prod.eu": "/kubeconfigs/prod.eu.kubeconfig",
        "south": "Secret east/istio-system/a, key south",
        "west": "Secret east/istio-system/a, key west",
    }
    assert registrations.findings == {}


def test_names_of_the_configuration_are_ignored_and_told_of() -> None:
    registrations = told(of_secret(key="east"), of_file("east.yaml"))
    assert registrations.registrations == {}
    assert findings(registrations) == [
        ("remote-cluster-own", "Cluster east", "/kubeconfigs/east.yaml"),
        ("remote-cluster-own", "Cluster east", "Secret east/istio-system/a, key east"),
    ]


@pytest.mark.parametrize("name", ["ca", "dns", "remoteClusters", "a b"])
def test_what_can_be_no_cluster_s_name_is_refused(name: str) -> None:
    registrations = told(of_file(f"{name}.yaml"))
    assert registrations.registrations == {}
    assert only(registrations).id == "remote-cluster-name"


def test_the_first_has_the_name_files_before_secrets_then_the_older_then_by_name() -> None:
    claims = [
        of_file("west.json"),
        of_file("west.yaml"),
        of_secret("z", created="2025-01-01T00:00:00Z"),
        of_secret("a"),
        of_secret("b"),
    ]
    while claims:
        for order in permutations(claims):
            registrations = told(*order)
            assert owners(registrations) == {"west": claims[0].place}
            assert findings(registrations) == sorted(("remote-cluster-claimed-twice", "Cluster west", one.place) for one in claims[1:])
            assert all(claims[0].place in one.cause for one in registrations.findings.values())
        del claims[0]  # the owner goes: the next has its turn


def test_a_kubeconfig_that_cannot_be_used_costs_itself_and_keeps_its_name() -> None:
    registrations = told(of_secret("a", text=BAD), of_secret("b"), of_secret("a", "north"))
    assert owners(registrations) == {"north": "Secret east/istio-system/a, key north"}
    assert findings(registrations) == [
        ("remote-cluster-claimed-twice", "Cluster west", "Secret east/istio-system/b, key west"),
        ("remote-kubeconfig-refused", "Cluster west", "Secret east/istio-system/a, key west"),
    ]


def test_a_rotation_that_is_broken_keeps_what_was_good_until_it_is_mended() -> None:
    registrations = told(of_secret())
    before = registrations.registrations
    registrations.tell("east", [of_secret(text=BAD)])
    assert registrations.registrations == before
    assert "the credentials of before are used" in only(registrations).cause
    registrations.tell("east", [of_secret(text=BAD)])
    assert registrations.registrations == before
    registrations.tell("east", [of_secret(text=OTHER)])
    assert token(registrations) == "0ther"
    assert registrations.findings == {}


def test_credentials_of_a_secret_that_is_gone_are_not_used_again() -> None:
    registrations = told(of_secret())
    registrations.tell("east", [of_secret(text=BAD, uid="another Secret of that name")])
    assert registrations.registrations == {}
    assert "nothing is known of this cluster" in only(registrations).cause
    registrations = told(of_secret("a"), of_secret("b", text=BAD))
    registrations.tell("east", [of_secret("b", text=BAD)])
    assert registrations.registrations == {}


def test_who_takes_a_name_over_is_another_owner() -> None:
    registrations = told(of_secret("a"), of_secret("b"))
    first = registrations.registrations[ClusterID("west")]
    registrations.tell("east", [of_secret("b")])
    assert registrations.registrations[ClusterID("west")].owner != first.owner


def test_a_file_that_changes_is_registered_anew() -> None:
    registrations = told(of_file("west.yaml", "1"))
    first = registrations.registrations[ClusterID("west")]
    registrations.tell("", [of_file("west.yaml", "2")])
    second = registrations.registrations[ClusterID("west")]
    assert first != second
    assert first.owner == second.owner


def test_a_source_that_cannot_tell_keeps_its_claims() -> None:
    registrations = told(of_file("west.yaml"))
    registrations.tell("", None)
    assert set(registrations.registrations) == {"west"}
    registrations.tell("", [])
    assert registrations.registrations == {}


def test_too_many_clusters_cost_the_newest_and_one_finding_a_secret() -> None:
    old = [of_secret("old", f"o{number:03}", created="2025-01-01T00:00:00Z") for number in range(MOST_KEYS)]
    flood = [of_secret(f"new-{secret}", f"n{secret}-{key:04}") for secret in range(4) for key in range(300)]
    registrations = told(*flood, *old, of_file("file.yaml"))
    assert len(registrations.registrations) == MOST + 1
    assert {one.cluster for one in old} <= registrations.registrations.keys()
    assert findings(registrations) == [
        ("remote-clusters-too-many", "Cluster n0-0100", "Secret east/istio-system/new-0, key n0-0100"),
        ("remote-clusters-too-many", "Cluster n1-0050", "Secret east/istio-system/new-1, key n1-0050"),
        ("remote-clusters-too-many", "Cluster n2-0000", "Secret east/istio-system/new-2, key n2-0000"),
        ("remote-clusters-too-many", "Cluster n3-0000", "Secret east/istio-system/new-3, key n3-0000"),
    ]
    registrations.tell("east", [*flood])
    assert len(registrations.registrations) == MOST + 1


def test_nothing_of_a_secret_is_shown() -> None:
    claim = of_secret()
    registrations = told(claim, of_secret("b", text=BAD))
    assert "t0ken" not in f"{claim!r} {registrations.registrations!r} {registrations.findings!r}"


CLAIMS = st.lists(
    st.one_of(
        st.builds(of_file, st.sampled_from(["west.yaml", "west.json", "north", "east.yaml", "ca"])),
        st.builds(
            of_secret,
            st.sampled_from("abc"),
            st.sampled_from(["west", "north", "east", "dns"]),
            st.sampled_from([GOOD, OTHER, BAD]),
            created=st.sampled_from(["", "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]),
        ),
    ),
    max_size=8,
    unique_by=lambda claim: claim.order,
)


@given(st.lists(CLAIMS, min_size=1, max_size=4), st.randoms())
def test_who_has_a_name_depends_on_nothing_but_the_last_claims(history: list[list[Claim]], chance: Any) -> None:
    old = told()
    for claims in history:
        old.tell("", [claim for claim in claims if claim.file is not None])
        old.tell("east", [claim for claim in claims if claim.file is None])
    shuffled = list(history[-1])
    chance.shuffle(shuffled)
    new = told(*shuffled)
    assert old.findings.keys() == new.findings.keys()
    assert new.registrations.items() <= old.registrations.items() or new.registrations.keys() <= old.registrations.keys()
    for name in new.registrations:
        assert old.registrations[name] == new.registrations[name]
    for name in old.registrations.keys() - new.registrations.keys():  # history: only what stays in use while its Secret is broken
        assert f"Cluster {name}" in {key.object for key in old.findings if key.id == "remote-kubeconfig-refused"}


def test_what_is_only_remembered_gives_way_to_whatever_can_be_read() -> None:
    registrations = told()
    registrations.tell("warm files", [remembered("west", "east", "Secret east/istio-system/a, key west"), remembered("east", "east", "x")])
    assert owners(registrations) == {"west": "Secret east/istio-system/a, key west"}
    (west,) = registrations.registrations.values()
    assert (west.holder, west.kubeconfig, west.file) == ("east", None, None)
    assert [one.id for one in registrations.findings.values()] == ["remote-cluster-own"]
    registrations.tell("", [of_file("west.yaml")])
    assert owners(registrations) == {"west": "/kubeconfigs/west.yaml"}
    registrations.tell("", [])
    registrations.tell("east", [of_secret()])
    assert token(registrations) == "t0ken"
    assert registrations.registrations[ClusterID("west")].owner != west.owner
    registrations.tell("warm files", [])
    assert (owners(registrations), findings(registrations)) == ({"west": "Secret east/istio-system/a, key west"}, [])
