"""The local stack: processes that are started together, watched, and stopped together.

Generic: which services there are is told by the command line, which composes the packages.
"""
