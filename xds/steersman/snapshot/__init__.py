"""Encoded resources as streams see them: tables by type and standpoint, shared by all streams that stand there."""
