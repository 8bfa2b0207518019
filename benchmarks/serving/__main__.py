"""Starts `benchmarks.serving.command`, which says what is measured and how."""

if __name__ == "__main__":  # not for the processes that multiprocessing starts: they need little
    import sys

    from benchmarks.serving.command import main
    from pipelines.ending import ended

    sys.exit(ended(main))
