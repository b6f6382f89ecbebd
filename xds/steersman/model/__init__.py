"""Frozen values that every layer speaks of. No I/O, no asyncio, no protobuf: nothing here does anything."""
