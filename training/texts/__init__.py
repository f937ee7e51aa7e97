"""Texts: what the description model learns from: facts, the pages written of them, and tokens."""
