"""Peers: what a team would build instead, around the same models and index, file by file."""
