"""Snapshots of a shop's data: readers for what shops have, checks, and the one form training reads."""
