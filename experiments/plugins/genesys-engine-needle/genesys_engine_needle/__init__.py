"""Needle in a haystack; nothing heavy is imported here."""

from genesys_engine.plugins import api


@api.hookimpl
def genesys_register_evaluators(register: api.Register) -> None:
    """Describe the component: its name, where it is, what it does."""
    target = "genesys_engine_needle.component:Needle"
    register("needle", target, summary="needle in a haystack: recall at growing length")
