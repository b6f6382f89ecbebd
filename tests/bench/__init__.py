"""Benchmarks: figures with their spread, each beside a reference of the same run, since machines differ and are shared."""
