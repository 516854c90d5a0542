"""`python -m genesys_engine` is the command `genesys-engine`."""

from genesys_engine.engine.cli import program

program()
