"""Models of other frameworks -> ONNX: a module per framework, each run in a child process."""
