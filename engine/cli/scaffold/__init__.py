"""`genesys-engine plugins new`: a package for a plugin of any kind, whose tests pass as made."""

from genesys_engine.engine.cli.scaffold.package import write_package

__all__ = ["write_package"]
