"""The command line: parse, call the library once, print."""


def main() -> None:
    """Run the ``zoo`` command."""
    try:
        from onnxzoo.cli.app import main as run
    except KeyboardInterrupt:  # Ctrl-C before anything was begun
        raise SystemExit(130) from None
    run()
