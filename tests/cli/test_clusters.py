"""steersman clusters: a table, what is wrong below it, the same as data, and exit codes."""

import json

import pytest

from steersman.cli.clusters import duration
from steersman.model.clusters import ClusterState
from tests.cli.conftest import Ran, inline
from tests.support.state import HELD, HELD_NODES, FakeState, api_source


async def ask(port: int, *args: str) -> Ran:
    return await inline("clusters", *args, "--server", f"127.0.0.1:{port}")


async def test_clusters_are_a_table_with_what_is_wrong_below(inspect_port: int, state: FakeState) -> None:
    state.held.append(api_source())
    ran = await ask(inspect_port)
    assert (ran.code, ran.err) == (1, "")
    assert ran.out == (
        "NAME   KIND         STATE       SINCE   CONTACT   OBJECTS   HELD   OUTAGE POLICY     SERVER              FROM\n"
        "east   files        SYNCED      -       -         7         -      -                 clusters/east       configuration\n"
        "west   kubernetes   FORBIDDEN   1m40s   1m30s     7         0      demote after 5m   https://west:6443   "
        "Secret east/istio-system/w\n"
        "\n"
        "west: pods: 403: no\n"
    )


async def test_what_is_wrong_with_a_resource_is_told_where_the_cluster_has_another_trouble(inspect_port: int, state: FakeState) -> None:
    state.held.append(api_source(ClusterState.UNREACHABLE, "no answer within 4 s"))
    ran = await ask(inspect_port)
    assert ran.out.endswith("\nwest: no answer within 4 s\n  pods is forbidden: 403: no\n")


async def test_what_is_held_of_a_cluster_is_bad_news_with_the_command_that_ends_it(inspect_port: int, state: FakeState) -> None:
    state.held.append(api_source(ClusterState.SYNCED, "", held=(HELD_NODES, HELD)))
    ran = await ask(inspect_port)
    assert ran.code == 1
    assert "SYNCED   1m40s   1m30s     7         8      demote" in ran.out
    assert ran.out.endswith(
        "\nwest: a mass removal is held; `steersman release west` lets go of it\n"
        "  Node west: 4 held until 2023-11-14T22:18:20Z: a list that was read anew lacks 4 of 4\n"
        "  Service west/default/reviews: 8 held until 2023-11-14T22:18:20Z: 8 of its 10 endpoints were lost in a list that was read anew\n"
    )


async def test_an_outage_policy_that_holds_has_a_star(inspect_port: int, state: FakeState) -> None:
    state.held.append(api_source(ClusterState.UNREACHABLE, "no answer", outage=True))
    ran = await ask(inspect_port)
    assert "UNREACHABLE" in ran.out
    assert "demote after 5m *" in ran.out


async def test_clusters_as_data(inspect_port: int, state: FakeState) -> None:
    assert [one["name"] for one in json.loads((await ask(inspect_port, "-o", "json")).out)] == ["east"]
    state.held.append(api_source())
    ran = await ask(inspect_port, "-o", "json")
    west = json.loads(ran.out)[1]
    assert ran.code == 1
    assert {key: west[key] for key in ("state", "server", "uid", "outage_policy", "outage_after")} == {
        "state": "FORBIDDEN",
        "server": "https://west:6443",
        "uid": "u-1",
        "outage_policy": "demote",
        "outage_after": 300.0,
    }
    assert [(one["name"], one["state"]) for one in west["resources"]] == [
        ("services", "synced"),
        ("pods", "forbidden"),
        ("gateways.networking.istio.io", "missing"),
    ]


async def test_all_well_is_good_news(inspect_port: int, state: FakeState) -> None:
    state.held.append(api_source(ClusterState.SYNCED, ""))
    assert (await ask(inspect_port)).code == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0s"), (59, "59s"), (60, "1m"), (185, "3m5s"), (7200, "2h"), (7260, "2h1m"), (7205, "2h"), (370_000, "4d6h")],
)
def test_durations_are_shown_in_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
