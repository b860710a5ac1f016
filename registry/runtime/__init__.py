"""Ask onnxruntime: builds, providers, sessions, what it accepts."""
