"""Read ONNX files without onnx and without their weights, and check them."""
