"""The command line: the jobs, without any server."""

from pipeline.cli.main import main

__all__ = ["main"]
