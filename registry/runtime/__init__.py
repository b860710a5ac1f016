"""Wrap onnxruntime: builds, providers, sessions, compatibility."""
