"""Snapshots of a shop's data: readers for what shops have, checks, the one form training reads."""
