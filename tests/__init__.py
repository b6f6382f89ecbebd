"""Tests of Steersman, in directories named for what they test; what they share is in `tests.support`."""
