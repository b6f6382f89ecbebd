"""What operators and tools ask a running server: the Inspect service, and the same over HTTP with readiness and metrics."""
