"""A proxy may be called by any name that fits no other; what fits none or several is told with what there is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steersman.admin.selection import NotFound, Unclear, matching, only
from steersman.model.proxy import Proxy
from tests.support.state import sidecar

REVIEWS = sidecar("reviews-v1", ip="10.0.0.5")
WEST = sidecar("reviews-v1", cluster="west", ip="10.0.0.6")
OTHER = sidecar("reviews-v1", namespace="shop", ip="10.0.0.7")
RATINGS = sidecar("ratings-v1", ip="10.0.0.8")
ALL = (REVIEWS, WEST, OTHER, RATINGS)


@pytest.mark.parametrize(
    ("name", "proxy"),
    [
        (REVIEWS.id, REVIEWS),
        ("sidecar~10.0.0.5~reviews-v1.default~cluster.local", REVIEWS),
        ("ratings-v1", RATINGS),
        ("ratings-v1.default", RATINGS),
        ("reviews-v1.shop", OTHER),
        ("west/reviews-v1", WEST),
        ("west/reviews-v1.default", WEST),
        ("10.0.0.7", OTHER),
        ("ratings", RATINGS),
        ("~10.0.0.6~", WEST),
    ],
)
def test_any_unambiguous_name_will_do(name: str, proxy: Proxy) -> None:
    assert only(ALL, name) == proxy


def test_a_whole_name_goes_before_a_part() -> None:
    short, long = sidecar("web", ip="10.0.0.1"), sidecar("web-2", ip="10.0.0.2")
    assert only((long, short), "web") == short


def test_an_id_goes_before_everything() -> None:
    strange = Proxy(id="reviews-v1.default", name="x")
    assert only((*ALL, strange), "reviews-v1.default") == strange


def test_one_node_id_in_two_clusters_is_two_proxies() -> None:
    east, west = sidecar("web"), sidecar("web", cluster="west")
    assert east.id.removeprefix("east/") == west.id.removeprefix("west/")
    assert only((east, west), "west/web") == west
    assert only((east, west), east.id) == east
    with pytest.raises(Unclear, match="fits 2 proxies"):
        only((east, west), east.id.removeprefix("east/"))


def test_streams_of_one_proxy_are_one_proxy() -> None:
    assert only((RATINGS, RATINGS), "ratings-v1") == RATINGS


def test_what_fits_several_lists_them() -> None:
    with pytest.raises(Unclear, match="'reviews-v1' fits 3 proxies; say which: ") as error:
        only(ALL, "reviews-v1")
    assert all(proxy.id in str(error.value) for proxy in (REVIEWS, WEST, OTHER))
    assert RATINGS.id not in str(error.value)


def test_of_very_many_a_few_are_listed() -> None:
    many = [sidecar(f"web-{number}", ip=f"10.0.1.{number}") for number in range(40)]
    with pytest.raises(Unclear, match=r"fits 40 proxies; say which: .* and 35 more \(steersman proxies\)"):
        only(many, "web-")


def test_what_fits_none_says_who_is_connected() -> None:
    with pytest.raises(NotFound, match=f"no connected proxy is called 'nobody'; connected: .*{RATINGS.id}"):
        only(ALL, "nobody")
    with pytest.raises(NotFound, match="none is connected"):
        only((), "nobody")


def test_nothing_names_nobody() -> None:
    with pytest.raises(Unclear, match=r"NAME\.NAMESPACE or CLUSTER/NAME"):
        only(ALL, "")


@settings(deadline=None)
@given(st.lists(st.sampled_from(ALL)), st.text(max_size=20))
def test_what_matches_is_among_them_and_the_order_of_arrival_does_not_matter(proxies: list[Proxy], wanted: str) -> None:
    found = matching(proxies, wanted)
    assert set(found) <= set(proxies)
    assert found == matching(reversed(proxies), wanted)
