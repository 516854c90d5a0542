"""Scores as a CSV file; nothing heavy is imported here."""

from genesys_engine.plugins import api


@api.hookimpl
def genesys_register_trackers(register: api.Register) -> None:
    """Describe the component: its name, where it is, what it does."""
    target = "genesys_engine_csv.component:Csv"
    register("csv", target, summary="every score as a line of a CSV file")
