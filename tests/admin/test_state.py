"""How far a proxy is, in one word."""

import pytest

from steersman.admin.state import Sync, sync
from steersman.ads.channel import ChannelStatus, Sent
from steersman.names import EDS

SENT = Sent(version="v", nonce="1", at=1.0)


def channel(*, sent: Sent | None = None, acked: Sent | None = None, pending: int = 0) -> ChannelStatus:
    return ChannelStatus(type_url=EDS, wildcard=False, subscribed=1, sent=sent, acked=acked, nack=None, pending=pending)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(channel(pending=1), Sync.NOT_SENT, id="asked for by name, not answered"),
        pytest.param(channel(), Sync.SYNCED, id="reconnected with all that it names"),
        pytest.param(channel(sent=SENT), Sync.STALE, id="sent, not acknowledged"),
        pytest.param(channel(sent=SENT, acked=SENT), Sync.SYNCED, id="acknowledged"),
        pytest.param(channel(sent=SENT, acked=SENT, pending=1), Sync.STALE, id="acknowledged, and changed since"),
    ],
)
def test_how_far_a_proxy_is(status: ChannelStatus, expected: Sync) -> None:
    assert sync(status) is expected
