"""Near names are suggested for misspelt commands and choices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click


class NearGroup(click.Group):
    """A group that suggests a command for a misspelt one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; suggest near names for an unknown one."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            hint = _suggest(args[0], self.list_commands(ctx))
            raise click.UsageError(f"unknown command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)


class NearChoice(click.Choice[str]):
    """A choice that suggests a value for a misspelt one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the value; suggest near values for an unknown one."""
        if value not in self.choices:
            self.fail(f"unknown value {value!r}; {_suggest(str(value), self.choices)}", param, ctx)
        return str(super().convert(value, param, ctx))


def _suggest(wrong: str, known: Iterable[str]) -> str:
    from genesys_engine.plugins.registry import suggest

    return suggest(wrong, known)
