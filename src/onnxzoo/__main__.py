"""``python -m onnxzoo``: the same command line as ``zoo``."""

from onnxzoo.cli import main

if __name__ == "__main__":
    main()
