"""The gRPC door with the chained engine behind it, on one machine, for measuring.

One process holds the device and answers batches (`engine`); several listen on one port, read
requests into features and write replies (`replica`); others send calls when they are due (`drive`,
by the project's open-loop generator). What a shop's own systems add (prices, stock, rules, the
log) is not in it: it is the door's and the device's share of a call. Needs grpc and protobuf
beside torch.
"""
