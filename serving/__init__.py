"""The running stack: the gRPC door, the request's way, and the adapters to everything foreign."""
