"""The control port: what a terminal, a page or a program may see of a running trader, and tell it to do."""

from perpstrader.console.access import TOKEN_FILE, read_token
from perpstrader.console.runfile import RUN_FILE, RunFile, read_run_file
from perpstrader.console.server import Console, ConsoleError

__all__ = ["RUN_FILE", "TOKEN_FILE", "Console", "ConsoleError", "RunFile", "read_run_file", "read_token"]
