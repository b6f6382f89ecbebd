"""The asyncio shell: gRPC under the streams, the engine's room, the sources' standing, readiness and drain."""
