"""steersman release: what was let go of, who may, and exit codes."""

import json
from dataclasses import replace

import pytest

from steersman.admin.releases import is_local
from steersman.model.clusters import ClusterState
from steersman.settings import InspectSettings
from tests.cli.conftest import Ran, inline
from tests.support.state import HELD, FakeState, api_source


async def release(port: int, *args: str) -> Ran:
    return await inline("release", *args, "--server", f"127.0.0.1:{port}")


@pytest.fixture
def held(state: FakeState) -> FakeState:
    state.held.append(api_source(ClusterState.SYNCED, "", held=(HELD,)))
    return state


async def test_a_release_prints_what_was_held(inspect_port: int, held: FakeState) -> None:
    ran = await release(inspect_port, "west")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "RELEASED                       COUNT   OF   HELD SINCE             UNTIL                  CAUSE\n"
        "Service west/default/reviews   8       10   2023-11-14T22:13:20Z   2023-11-14T22:18:20Z   "
        "8 of its 10 endpoints were lost in a list that was read anew\n"
    )
    ran = await release(inspect_port, "west", "default/reviews", "-o", "json")
    assert [(one["object"], one["count"], one["release"]) for one in json.loads(ran.out)] == [
        ("Service west/default/reviews", "8", "steersman release west default/reviews")
    ]
    assert held.released == [("west", None), ("west", ("default", "reviews"))]


async def test_to_release_what_is_not_held_is_no_mistake(inspect_port: int, state: FakeState) -> None:
    state.held.append(api_source(ClusterState.SYNCED, ""))
    ran = await release(inspect_port, "west", "default/reviews")
    assert (ran.code, ran.out, ran.err) == (0, "", "nothing is held of service default/reviews of cluster west\n")
    assert (await release(inspect_port, "west", "-o", "json")).out.strip() == "[]"


async def test_a_cluster_that_is_not_there_or_in_files_is_bad_news(inspect_port: int, held: FakeState) -> None:
    for name in ("east", "north"):
        ran = await release(inspect_port, name)
        assert (ran.code, ran.out) == (1, "")
        assert ran.err == f"steersman: no cluster {name!r} is read from its API; these are: west\n"
    assert held.released == []


@pytest.mark.parametrize("service", ["reviews", "a/b/c", "/reviews", "a b/c"])
async def test_what_is_no_service_is_wrong_use(inspect_port: int, held: FakeState, service: str) -> None:
    ran = await release(inspect_port, "west", service)
    assert (ran.code, ran.err) == (2, f"steersman: {service!r} is no service; expected NAMESPACE/NAME such as default/reviews\n")
    assert held.released == []


async def test_from_another_machine_it_is_taken_only_where_the_configuration_says_so(
    inspect_port: int, held: FakeState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steersman.admin.releases.is_local", lambda peer: False)
    ran = await release(inspect_port, "west")
    assert (ran.code, held.released) == (1, [])
    assert ran.err.startswith("steersman: a release is taken from the server's own machine only, and this comes from ipv4:127.0.0.1:")
    assert "server.inspect.remoteChanges" in ran.err
    server = replace(held.settings.server, inspect=InspectSettings(address=held.settings.server.inspect.address, remote_changes=True))
    held.settings = replace(held.settings, server=server)
    assert (await release(inspect_port, "west")).code == 0


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        ("ipv4:127.0.0.1:4242", True),
        ("ipv4:127.9.9.9:1", True),
        ("ipv6:%5B::1%5D:4242", True),
        ("ipv6:[::1]:4242", True),
        ("ipv6:%5B::ffff:127.0.0.1%5D:4242", True),
        ("unix:/run/steersman.sock", True),
        ("ipv4:10.0.0.1:4242", False),
        ("ipv4:1.127.0.1:4242", False),
        ("ipv6:%5Bfd00::1%5D:4242", False),
        ("ipv6:%5B::ffff:10.0.0.1%5D:4242", False),
        ("", False),
    ],
)
def test_only_peers_on_this_machine_are_local(peer: str, local: bool) -> None:
    assert is_local(peer) is local
