"""How hard properties are tried: enough for every day, or, with HYPOTHESIS_PROFILE=thorough (`make thorough`), ten times that."""

from hypothesis import settings

EVERYDAY = 100
THOROUGH = 1000


def examples(everyday: int) -> int:
    """`max_examples` of a test for which this many are enough every day."""
    return everyday * settings().max_examples // EVERYDAY
