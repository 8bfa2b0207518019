"""`brain-tumor`, also as `python -m pipelines`."""

from components.shared.command_line.start import start


def main() -> None:
    """Entry point."""
    start("pipelines.cli")


if __name__ == "__main__":
    main()
