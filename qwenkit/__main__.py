"""`python -m qwenkit` and the `qwenkit` command."""

from qwenkit.cli.app import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
