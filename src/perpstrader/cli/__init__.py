"""The ``perpstrader`` command: one file a verb, loaded when it is asked for; a skin over the trader's commands."""

from perpstrader.cli.program import main

__all__ = ["main"]
