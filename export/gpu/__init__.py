"""The request's arithmetic on one GPU: tower, search, candidate values and ranker, chained there.

Imports torch, numpy, the standard library and our own pure modules, nothing else, so that a
checkout on a bare GPU machine can run `python -m export.gpu.bench`.
"""
