"""When first facts are told, when the warm file stands in for them, and when it is written."""

import math

from steersman.sources.kube.reflector import Standing
from steersman.sources.kube.state import ResourceStatus
from steersman.sources.kube.telling import Due, FirstTelling, Keeping
from steersman.sources.kube.timing import Timing

S = Standing
NEVER = -math.inf
TIMING = Timing(warm=3.0, patience=5.0, keep_first=5.0, keep=30.0, keep_contact=300.0)


def resources(*standings: Standing, whole: bool = False) -> list[ResourceStatus]:
    return [ResourceStatus(name="pods", version="v1", standing=one, whole=whole or one is S.SYNCED) for one in standings]


def due(
    telling: FirstTelling, now: float, *standings: Standing, heard: float = NEVER, out: bool = False, warm: bool = True, whole: bool = False
) -> Due:
    return telling.due(now, resources(*standings, whole=whole), heard, out=out, warm=warm)


def test_an_api_that_gives_nothing_is_waited_for_before_its_warm_file_stands_in() -> None:
    telling = FirstTelling(TIMING, 30.0, 0.0)
    assert due(telling, 2.9, S.UNREACHABLE, out=True) is Due.NOTHING
    assert due(telling, 3.0, S.UNREACHABLE, out=True) is Due.WARM
    assert due(telling, 3.0, S.SYNCING) is Due.WARM, "not a byte has come"
    assert due(telling, 3.0, S.UNREACHABLE, out=True, warm=False) is Due.NOTHING
    assert due(telling, 5.0, S.UNREACHABLE, out=True, warm=False) is Due.FACTS


def test_an_api_that_answers_is_waited_for_as_ever() -> None:
    telling = FirstTelling(TIMING, 30.0, 0.0)
    assert due(telling, 1.0, S.SYNCED, S.SYNCED, heard=0.5) is Due.FACTS
    assert due(telling, 20.0, S.SYNCED, S.SYNCING, heard=0.5) is Due.NOTHING
    assert due(telling, 27.0, S.SYNCED, S.SYNCING, heard=0.5) is Due.FACTS
    assert due(telling, 4.9, S.SYNCED, S.FAILING, heard=0.5) is Due.NOTHING
    assert due(telling, 5.0, S.SYNCED, S.FAILING, heard=0.5) is Due.FACTS
    assert due(telling, 4.0, S.SYNCED, S.UNREACHABLE, heard=0.5, out=True) is Due.WARM, "it was there for a moment"


def test_after_a_warm_file_nothing_is_told_until_the_api_is_back_and_then_together() -> None:
    telling = FirstTelling(TIMING, 30.0, 0.0)
    telling.stand_in(3.5)
    assert due(telling, 1000.0, S.UNREACHABLE, out=True, warm=False) is Due.NOTHING
    assert due(telling, 1001.0, S.SYNCING, heard=1000.5, warm=False) is Due.NOTHING
    assert due(telling, 1005.9, S.SYNCED, S.FAILING, heard=1000.5, warm=False) is Due.NOTHING
    assert due(telling, 1006.0, S.SYNCED, S.FAILING, heard=1000.5, warm=False) is Due.FACTS
    assert due(telling, 1002.0, S.SYNCED, S.SYNCED, heard=1000.5, warm=False) is Due.FACTS


def test_the_file_is_written_soon_after_the_first_facts_and_seldom_while_something_changes() -> None:
    keeping = Keeping(TIMING)
    assert not keeping.due(10.0, 5, 100.0, out=False)
    assert not keeping.due(14.9, 6, 104.9, out=False)
    assert keeping.due(15.0, 7, 105.0, out=False)
    keeping.done(15.0, 7, 105.0, kept=True)
    assert not keeping.due(20.0, 8, 110.0, out=False)
    assert keeping.due(45.0, 8, 135.0, out=False)
    keeping.done(45.0, 8, 135.0, kept=True)
    assert not keeping.due(100.0, 8, 190.0, out=False)
    assert keeping.is_behind(8, 190.0)
    assert not keeping.is_behind(8, 135.0)
    assert keeping.is_behind(9, 135.0)
    assert keeping.due(345.0, 8, 435.0, out=False), "the time of contact alone"


def test_when_an_outage_begins_the_last_contact_is_written_once() -> None:
    keeping = Keeping(TIMING)
    keeping.done(15.0, 7, 105.0, kept=True)
    assert keeping.due(17.0, 7, 106.0, out=True)
    keeping.done(17.0, 7, 106.0, kept=True)
    assert not keeping.due(1000.0, 7, 106.0, out=True)


def test_what_could_not_be_written_is_tried_again_but_not_all_the_time() -> None:
    keeping = Keeping(TIMING)
    keeping.done(15.0, 7, 105.0, kept=False)
    assert not keeping.due(44.9, 9, 134.9, out=True)
    assert keeping.due(45.0, 7, 105.0, out=True)
    assert keeping.is_behind(7, 105.0)
