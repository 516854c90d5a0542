"""The command line.  `main` is the only place where an error becomes a message and a code.

Nothing heavy is imported before a command is chosen, so `--help` stays quick.
May import everything; nothing imports it.
"""

from genesys_engine.engine.cli.app import main, program

__all__ = ["main", "program"]
