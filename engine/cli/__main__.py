"""`python -m genesys_engine.engine.cli`: the same as the command `genesys-engine`."""

from genesys_engine.engine.cli.app import program

program()
