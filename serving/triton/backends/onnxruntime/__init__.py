"""The `onnxruntime` backend for servers built without it; imported by Triton's stubs only."""
