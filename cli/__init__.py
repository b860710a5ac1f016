"""The command line: parse, call the library once, print."""


def main() -> None:
    """Run the ``zoo`` command."""
    from onnxzoo.cli.app import main as run

    run()
