"""Locust users over the real gRPC door; `locustfile.py` is what locust is given."""
