"""Wrong names are answered with near ones: of commands, and of choices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click


class NearGroup(click.Group):
    """A group that suggests a command for a misspelt one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a wrong name is answered with near ones."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            hint = _suggest(args[0], self.list_commands(ctx))
            raise click.UsageError(f"there is no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)


class NearChoice(click.Choice[str]):
    """A choice that suggests a value for a misspelt one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the value; a wrong one is answered with near ones."""
        if value not in self.choices:
            self.fail(f"there is no {value!r}; {_suggest(str(value), self.choices)}", param, ctx)
        return str(super().convert(value, param, ctx))


def _suggest(wrong: str, known: Iterable[str]) -> str:
    from genesys_engine.plugins.registry import suggest

    return suggest(wrong, known)
