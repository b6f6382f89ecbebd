"""How soon a real Envoy knows of a pod that has become ready. `make bench` shows the same figures with their spread."""

import pytest

from tests.bench import visible

LIMIT = 50.0
"""Milliseconds, on a quiet server: the promise."""


@pytest.mark.alone
@pytest.mark.envoy
@pytest.mark.parametrize("content", [visible.as_json, visible.as_yaml], ids=["json", "yaml"])
def test_a_pod_that_becomes_ready_is_in_a_real_envoy_within_50_ms(content: visible.Write) -> None:
    figure = visible.timed(content, "a file replaced by rename")
    assert len(figure.times) == visible.ROUNDS
    assert figure.median <= LIMIT, figure.line()
