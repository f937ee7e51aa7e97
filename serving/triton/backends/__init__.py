"""Triton backends of our own; `serving.triton.runtime` copies them to where the server looks."""
