"""Tests; the folder decides the marker."""
