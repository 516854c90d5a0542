"""A mixer in the frequency domain; nothing heavy is imported here."""

from genesys_engine.plugins import api


@api.hookimpl
def genesys_register_operators(register: api.Register) -> None:
    """Describe the component: its name, where it is, what it does."""
    target = "genesys_engine_frequency.component:Frequency"
    register("frequency", target, summary="a sequence mixer in the frequency domain")
