"""Stands in for Triton's TensorRT backend where a server has none: real engines or nothing."""
