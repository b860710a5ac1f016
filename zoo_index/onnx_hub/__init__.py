"""Offer the functions of the removed `onnx.hub`."""
