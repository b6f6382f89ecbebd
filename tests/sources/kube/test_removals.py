"""The removal guard: what is doubted, what is held of it and how, and what ends a hold."""

import pytest

from steersman.model.ids import IPFamily
from steersman.model.objects import Kind, Namespace, Service
from steersman.sources.kube import losses, removals
from tests.sources.kube.guarded import GRACE, HOLD, Guarded, key, piece, pod

WEB = Service(key=key("web"))
ALL = [f"10.0.0.{number}=web-{number}" for number in range(1, 7)]
PODS = [pod(f"web-{number}", f"10.0.0.{number}") for number in range(1, 7)]
SLICE = Kind.ENDPOINT_SLICE


def synced(*more: object, at_least: int = 1) -> Guarded:
    """A Service with six endpoints in two slices."""
    return Guarded(at_least=at_least).sync(WEB, piece("a", *ALL[:3]), piece("b", *ALL[3:]), *PODS, *more)


# -- what is doubted ----------------------------------------------------------------------------------------------------------


def test_what_is_lost_by_events_of_a_sound_watch_is_gone() -> None:
    api = synced()
    api.puts(piece("a"))
    assert api.shown() == ALL[3:]
    api.deletes(SLICE, "b")
    assert api.shown() == []
    assert api.is_as_listed()


def test_a_list_that_lacks_more_than_the_share_is_not_believed() -> None:
    api = synced()
    api.lists(SLICE, piece("a", ALL[0]))
    assert api.shown() == ALL
    assert api.held() == {key("a"): ALL[1:3], key("b"): ALL[3:]}
    (hold,) = api.holds().values()
    assert (str(hold.object), hold.count, hold.before, hold.since, hold.until) == ("Service east/ns/web", 5, 6, 1000.0, 1000.0 + HOLD)
    assert hold.cause == "5 of its 6 endpoints were lost in a list that was read anew"
    (finding,) = api.told.findings()
    assert (finding.id, finding.object, finding.place) == ("removal-held", "Service east/ns/web", "east.kubeconfig")
    assert "steersman release east ns/web" in finding.remedy


def test_a_list_that_lacks_no_more_than_the_share_is_believed_once_it_is_whole() -> None:
    api = synced()
    api.begins(SLICE)
    api.puts(piece("a", ALL[0]))
    assert api.shown() == ALL, "not decided yet"
    assert api.holds() == {}
    api.puts(piece("b", *ALL[4:]))
    api.completes(SLICE, api.api[SLICE])
    assert api.shown() == [ALL[0], *ALL[4:]]
    assert api.is_as_listed()


def test_what_is_lost_while_the_api_is_in_trouble_or_a_while_after_it_is_not_believed() -> None:
    for moment in ("trouble", "after"):
        api = synced()
        api.trouble()
        if moment == "after":
            api.well()
            api.later(GRACE - 1)
        api.puts(piece("a"))
        assert api.shown() == ALL[3:], "half of it is no more than the share"
        api.puts(piece("b", ALL[3]))
        assert api.shown() == ALL[3:]
        assert api.holds()["web"].cause == "5 of its 6 endpoints were lost while its cluster's API was in trouble"
    api = synced()
    api.trouble()
    api.well()
    api.later(GRACE)
    api.deletes(SLICE, "a", "b")
    assert api.is_as_listed()


def test_what_is_lost_piece_by_piece_adds_up() -> None:
    api = synced()
    api.trouble()
    for left in (5, 4, 3, 2, 1, 0):
        api.puts(piece("a", *ALL[:left][:3]), piece("b", *ALL[:left][3:]))
    assert api.shown() == ALL[:3], "what went before it was too much stays gone"


def test_a_rollout_that_was_not_seen_is_no_loss() -> None:
    api = synced()
    api.lists(SLICE, piece("a", "10.0.1.1=web-7", "10.0.1.2=web-8", "10.0.1.3=web-9"), piece("b"))
    assert api.shown() == []  # their Pods are not known yet
    assert api.is_as_listed()


def test_endpoints_that_moved_to_another_slice_are_not_lost() -> None:
    api = synced()
    api.lists(SLICE, piece("c", *ALL))
    assert api.is_as_listed()
    api.trouble()
    api.deletes(SLICE, "c")
    assert api.shown() == ALL
    api.puts(piece("d", *ALL))
    assert api.is_as_listed()


def test_endpoints_that_turn_unready_together_in_doubt_are_held_as_ready() -> None:
    """As when kubelets can't reach an API server that has come back: all their pods turn NotReady, and all of them run."""
    api = synced()
    api.trouble()
    api.well()
    api.puts(piece("a", *(f"{one}!" for one in ALL[:3])), piece("b", *(f"{one}!" for one in ALL[3:])))
    assert api.shown() == ALL[3:]
    api.puts(piece("b", *ALL[3:]))
    assert api.is_as_listed()


def test_what_terminates_was_decided_by_somebody() -> None:
    api = synced()
    api.trouble()
    api.puts(piece("a", *(f"{one}~" for one in ALL[:3])), piece("b", *(f"{one}~" for one in ALL[3:])))
    api.deletes(SLICE, "a", "b")
    assert api.is_as_listed()


def test_few_endpoints_are_no_mass() -> None:
    api = synced(Service(key=key("db")), piece("db", "10.0.9.1", service="db"), at_least=3)
    api.lists(SLICE, piece("a", *ALL[:3]), piece("b", *ALL[3:]))
    assert api.is_as_listed()
    api = synced(Service(key=key("db")), piece("db", "10.0.9.1", service="db"), at_least=3)
    api.lists(SLICE)
    assert api.shown("db") == ["10.0.9.1"], "with the six of the other it is one"


def test_a_guard_that_is_off_lets_everything_pass() -> None:
    api = Guarded(enabled=False).sync(WEB, piece("a", *ALL), *PODS)
    api.trouble()
    api.lists(SLICE)
    api.lists(Kind.POD)
    assert api.is_as_listed()


def test_a_first_list_and_another_clusters_are_believed() -> None:
    api = Guarded()
    api.trouble()
    api.sync(WEB, piece("a", *ALL), *PODS)
    assert api.is_as_listed()
    api.replaced()
    api.lists(SLICE, piece("z", "10.9.9.9"))
    api.lists(Kind.POD)
    assert api.is_as_listed()
    api.puts(piece("z"))
    assert api.shown() == ["10.9.9.9"], "it is doubted as any other again"


def test_what_was_held_when_another_cluster_shows_itself_goes() -> None:
    api = synced()
    api.lists(SLICE)
    api.lists(Kind.POD)
    assert api.shown() == ALL
    api.replaced()
    assert api.is_as_listed()
    assert set(api.reasons) == {removals.ANOTHER}


def test_a_hold_is_found_where_its_cluster_is_registered_now() -> None:
    api = synced()
    api.lists(SLICE)
    api.place = "Secret east/istio-system/other, key west"
    api.later(1)
    (finding,) = api.told.findings()
    assert finding.place == api.place
    api.releases()
    assert api.is_as_listed()


# -- objects that a list lacks ------------------------------------------------------------------------------------------------


def test_pods_that_a_list_lacks_are_held_where_a_service_would_lose_too_much_by_them() -> None:
    others = [pod(f"job-{number}", f"10.1.0.{number}") for number in range(20)]
    api = synced(*others)
    api.lists(Kind.POD, *PODS[:2], *others[:18])
    assert api.shown() == ALL
    assert (Kind.POD, key("job-19")) not in api.told.values
    assert api.holds()["web"].pods == {key(f"web-{number}") for number in (3, 4, 5, 6)}
    assert api.holds()["web"].count == 4
    api.puts(PODS[2], PODS[3])
    assert api.shown() == ALL
    assert api.holds()["web"].pods == {key("web-5"), key("web-6")}
    api.puts(PODS[4], PODS[5])
    assert api.holds() == {}
    assert api.is_as_listed()


def test_a_pod_that_its_slice_names_no_longer_is_held_no_longer() -> None:
    api = synced()
    api.lists(Kind.POD, *PODS[:2])
    api.puts(piece("b", *ALL[4:]))
    assert (Kind.POD, key("web-4")) not in api.told.values
    assert api.holds()["web"].count == 3


def test_a_pod_is_not_held_for_the_sake_of_a_service_that_is_not() -> None:
    api = synced()
    api.deletes(Kind.SERVICE, "web")
    api.lists(Kind.POD)
    api.trouble()
    api.lists(SLICE, piece("a", *ALL[1:3]), piece("b", *ALL[3:], ALL[0]))
    api.later(HOLD)
    assert api.is_as_listed()


def test_pods_that_a_list_lacks_are_gone_where_services_keep_enough() -> None:
    api = synced()
    api.lists(Kind.POD, *PODS[:3])
    assert api.is_as_listed()


def test_a_list_that_lacks_most_of_a_kind_is_not_believed_at_all() -> None:
    namespaces = [Namespace(key=key(f"ns-{number}")) for number in range(5)]
    api = synced(*namespaces, Service(key=key("db")), Service(key=key("cache")), at_least=3)
    api.lists(Kind.NAMESPACE, namespaces[0])
    assert api.told.names(Kind.NAMESPACE) == [f"ns-{number}" for number in range(5)]
    api.lists(Kind.SERVICE)
    api.lists(Kind.POD)
    assert api.shown() == ALL
    holds = api.holds()
    assert {name: (one.count, one.before) for name, one in holds.items()} == {"Namespace": (4, 5), "Service": (3, 3), "web": (6, 6)}
    assert {one.object for one in api.told.findings()} == {"Resource east/Namespace", "Resource east/Service", "Service east/ns/web"}
    api.puts(namespaces[1])
    assert api.holds()["Namespace"].count == 3
    api.lists(Kind.NAMESPACE, *namespaces[:3])
    assert api.holds()["Namespace"].count == 2, "that others are back says nothing of these"
    api.lists(Kind.NAMESPACE, *namespaces[:3], *(Namespace(key=key(f"new-{number}")) for number in range(2)))
    assert api.told.names(Kind.NAMESPACE) == ["new-0", "new-1", "ns-0", "ns-1", "ns-2"], "as many as there were"
    api.later(HOLD)
    assert api.is_as_listed()


def test_lists_of_all_kinds_that_are_empty_change_nothing_in_any_order() -> None:
    kinds = (Kind.SERVICE, SLICE, Kind.POD)
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2), (2, 0, 1), (0, 2, 1)):
        more = [Service(key=key(name)) for name in ("db", "cache")]
        api = synced(*more, at_least=3)
        for place in order:
            api.lists(kinds[place])
        assert api.shown() == ALL, order
        api.later(HOLD)
        assert api.is_as_listed(), order


def test_a_service_that_is_deleted_has_nothing_to_hold() -> None:
    api = synced(*(Service(key=key(f"other-{number}")) for number in range(3)))
    others = list(api.api[Kind.SERVICE].values())[1:]
    api.lists(SLICE)
    assert api.shown() == ALL
    api.lists(Kind.SERVICE, *others)  # one of four that a list lacks is believed
    assert api.reasons == [losses.GONE]
    assert api.is_as_listed()
    api = synced(*(Service(key=key(f"other-{number}")) for number in range(3)))
    api.trouble()
    api.deletes(Kind.SERVICE, "web")
    api.deletes(SLICE, "a", "b")
    assert api.is_as_listed()


# -- what ends a hold ---------------------------------------------------------------------------------------------------------


def test_what_is_held_goes_when_its_time_is_over_however_often_lists_come() -> None:
    api = synced()
    api.lists(SLICE, piece("a", *ALL[:1]))
    api.later(HOLD - 1)
    api.lists(SLICE)
    assert api.shown() == ALL
    assert api.holds()["web"].until == 1000.0 + HOLD
    api.lists(SLICE)
    api.later(1)
    assert api.is_as_listed()
    assert api.reasons == [removals.OVER]
    api.lists(SLICE)
    assert api.is_as_listed()


def test_a_list_that_never_ends_is_waited_for_no_longer_than_that() -> None:
    api = synced()
    api.begins(SLICE)
    api.puts(piece("a"), piece("b"))
    api.later(HOLD - 1)
    assert api.shown() == ALL
    api.later(1)
    assert api.is_as_listed()


def test_a_source_that_is_started_afresh_holds_on_and_judges_by_what_was_served() -> None:
    others = [pod(f"job-{number}", f"10.1.0.{number}") for number in range(3)]
    for half in (False, True):
        api = synced(*others)
        api.lists(Kind.POD)
        api.lists(SLICE, piece("a", ALL[0]))
        (before,) = (one for name, one in api.holds().items() if name == "web")
        if half:
            api.begins(SLICE)
            api.puts(piece("a"))
        api.later(HOLD / 2)
        api.restarts()
        assert (api.shown(), api.told.names(Kind.POD)) == (ALL, sorted(one.key.name for one in (*PODS, *others)))
        api.lists(SLICE)
        assert (api.shown(), api.holds()["web"].until) == (ALL, before.until)
        api.puts(PODS[0], piece("a", ALL[0]))
        assert api.shown() == ALL
        api.later(HOLD / 2)
        assert api.is_as_listed()


def test_a_command_releases_a_service_or_all() -> None:
    for named in ("web", ""):
        api = synced(Service(key=key("db")), piece("db", "10.0.9.1", service="db"))
        api.lists(SLICE)
        api.releases(named)
        assert api.shown() == []
        assert api.shown("db") == ([] if not named else ["10.0.9.1"])
        assert set(api.reasons) == {removals.COMMAND}
        api.releases("other")
        api.releases(named)
        api.releases()
        api.lists(SLICE)
        assert api.is_as_listed()


def test_what_is_held_stays_until_it_is_back_itself() -> None:
    api = synced()
    api.lists(SLICE)
    api.puts(piece("a", *ALL[:2]))
    assert (api.shown(), api.holds()["web"].count) == (ALL, 4)
    api.puts(piece("c", ALL[2]))
    assert (api.shown(), api.holds()["web"].count) == (ALL, 3), "a slice may come a moment after the others"
    api.lists(SLICE, piece("a", *ALL[:2]), piece("c", ALL[2]))
    assert api.holds()["web"].count == 3
    api.puts(piece("b", *ALL[3:]))
    assert api.reasons == [losses.BACK]
    assert api.is_as_listed()


def test_a_hold_ends_when_as_many_others_are_there() -> None:
    api = synced()
    api.lists(SLICE)
    others = [f"10.0.4.{number}" for number in range(6)]
    api.puts(piece("c", *others[:5]))
    assert api.shown() == [*ALL, *others[:5]]
    api.puts(piece("c", *others))
    assert api.shown() == others
    assert api.reasons == [losses.REPLACED]
    assert api.is_as_listed()


def test_a_scale_down_while_something_is_held_is_believed_and_the_hold_ends_in_its_time() -> None:
    api = synced()
    api.lists(SLICE, piece("a", ALL[0]))
    api.puts(piece("a", *ALL[:3]))
    api.later(HOLD / 2)
    api.puts(piece("a", ALL[0], *(f"{one}~" for one in ALL[1:3])))
    api.puts(piece("a", ALL[0]))
    assert api.shown() == [ALL[0], *ALL[3:]]
    api.puts(piece("b", *(f"{one}~" for one in ALL[3:5])))
    assert api.shown() == [ALL[0], ALL[5]]
    api.deletes(Kind.POD, "web-6")
    assert api.is_as_listed()
    assert api.reasons == [losses.BACK]
    api = synced()
    api.lists(SLICE, piece("a", *ALL[:3], "10.0.4.1"))
    assert api.shown() == [*ALL[:3], "10.0.4.1"], "half of them is believed"
    api.lists(SLICE, piece("a", ALL[0]))
    api.later(HOLD)
    assert api.is_as_listed()


def test_what_is_listed_as_not_ready_is_so_when_the_api_is_in_doubt_no_more_and_most_are_back() -> None:
    api = synced()
    api.trouble()
    api.puts(piece("b"), piece("a", *(f"{one}!" for one in ALL[:3])))
    assert api.shown() == ALL[:3]
    api.puts(piece("b", *ALL[3:5]), piece("a", ALL[0], *(f"{one}!" for one in ALL[1:3])))
    api.well()
    api.later(GRACE - 1)
    assert api.shown() == ALL[:5]
    api.later(1)
    assert api.shown() == [ALL[0], *ALL[3:5]]
    assert api.reasons == [losses.BACK]
    assert api.is_as_listed()


@pytest.mark.parametrize("first", [SLICE, Kind.POD])
def test_a_cluster_that_comes_back_piece_by_piece_loses_nothing_on_the_way(first: Kind) -> None:
    api = synced()
    lists = {SLICE: list(api.api[SLICE].values()), Kind.POD: PODS}
    api.lists(SLICE)
    api.lists(Kind.POD)
    second = Kind.POD if first is SLICE else SLICE
    api.begins(first)
    api.begins(second)
    for kind in (first, second):
        for one in lists[kind]:
            api.puts(one)
            assert api.shown() == ALL
        api.completes(kind, api.api[kind])
        assert api.shown() == ALL
    assert api.is_as_listed()
    assert api.reasons == [losses.BACK]


def test_new_endpoints_come_as_ever_and_are_not_held_when_they_go() -> None:
    api = synced()
    api.lists(SLICE)
    api.puts(piece("c", "10.0.2.1"))
    assert api.shown() == [*ALL, "10.0.2.1"]
    api.deletes(SLICE, "c")
    assert api.shown() == ALL


@pytest.mark.parametrize("listed", ["10.0.0.4=web-4~", "10.0.0.4=other-1", "10.0.0.4", "10.0.7.7=web-4", "10.0.0.4=web-4"])
def test_what_the_api_lists_anew_is_what_it_says(listed: str) -> None:
    api = synced()
    api.lists(SLICE)
    api.puts(piece("c", listed))
    assert api.held()[key("b")] == ALL[4:]


def test_a_pod_of_two_addresses_that_is_listed_elsewhere_is_held_at_neither() -> None:
    for first in (False, True):
        two = ["10.0.0.4=web-4", "10.0.7.7=web-4"]
        api = Guarded().sync(WEB, piece("a", *(two if first else two[::-1]), *ALL[4:]), pod("web-4"), *PODS[4:])
        api.lists(SLICE)
        assert len(api.held()[key("a")]) == 4
        api.puts(piece("c", "10.0.8.8=web-4"))
        assert api.held() == {key("a"): ALL[4:]}


def test_a_pod_is_listed_once_for_each_family() -> None:
    api = synced(piece("v6", "fd00::4=web-4", family=IPFamily.IPV6))
    api.lists(SLICE, piece("v6", "fd00::4=web-4", family=IPFamily.IPV6))
    assert api.held()[key("b")] == ALL[3:]


def test_a_slice_with_other_ports_is_another() -> None:
    api = synced()
    api.lists(SLICE)
    api.puts(piece("a", "10.0.3.1", "10.0.3.2", port=9090))
    api.lists(SLICE, piece("a", port=9090))
    assert api.held() == {key("a"): ["10.0.3.1", "10.0.3.2"], key("b"): ALL[3:]}


def test_a_pod_of_a_slice_with_other_ports_is_held_no_longer_than_its_endpoint() -> None:
    api = synced()
    api.lists(Kind.POD)
    api.lists(SLICE, piece("b", ALL[0], port=9090))
    api.lists(SLICE)
    assert api.held() == {key("a"): ALL[1:3], key("b"): [ALL[0]]}
    assert (Kind.POD, key("web-4")) not in api.told.values
    api.later(HOLD)
    assert api.is_as_listed()


def test_a_pod_that_is_deleted_goes_or_moves_is_held_no_longer() -> None:
    api = synced()
    api.lists(SLICE)
    api.deletes(Kind.POD, "web-1")
    api.puts(pod("web-2", "10.0.0.2", terminating=True), pod("web-3", "10.0.0.3", active=False), pod("web-4", "10.0.8.8"))
    assert api.held() == {key("b"): ALL[4:]}
    assert (Kind.POD, key("web-1")) not in api.told.values


def test_a_pod_that_was_deleted_before_is_no_reason_to_hold_its_endpoint() -> None:
    api = synced()
    api.trouble()
    api.deletes(Kind.POD, "web-1", "web-2", "web-3", "web-4")
    api.lists(SLICE)
    assert api.shown() == ALL[4:]


def test_an_address_that_another_pod_has_now_is_not_held() -> None:
    for after in (False, True):
        api = synced()
        others = [pod(f"idle-{number}", f"10.5.0.{number}") for number in range(20)]
        api.puts(*others)
        if after:
            api.lists(SLICE)
            api.lists(Kind.POD, *others)
            assert api.shown() == ALL
            api.puts(pod("new-1", "10.0.0.4"))
        else:
            api.lists(Kind.POD, *others, pod("new-1", "10.0.0.4"))
            api.lists(SLICE)
        assert api.shown() == [*ALL[:3], *ALL[4:]]
        assert (Kind.POD, key("web-4")) not in api.told.values


def test_pods_on_the_network_of_their_host_share_an_address_with_others() -> None:
    api = Guarded().sync(WEB, piece("a", "10.0.0.1=web-1"), pod("web-1", "10.0.0.1"), pod("exporter-1", "10.0.0.1"))
    api.lists(SLICE)
    api.puts(pod("exporter-1", "10.0.0.1", ready=False))
    assert api.shown() == ["10.0.0.1=web-1"]
