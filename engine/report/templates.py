"""The page's templates, with everything escaped that is not marked as HTML."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.engine.common import text
from genesys_engine.engine.store.names import label
from genesys_engine.engine.views import llm, verdict

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # `select_autoescape` goes by the ending and would leave `.j2` unescaped.
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=text.percent,
        signed=text.signed,
        title=text.metric_title,
        number=text.number,
        rough=text.rough,
        duration=text.duration,
        count=text.count,
        usd=llm.usd,
    )
    sentences = {"describe": verdict.describe, "rival": verdict.rival, "grounds": verdict.grounds}
    environment.globals.update(label=label, plural=text.plural, **sentences)
    return environment


def render(template: str, **values: Any) -> str:
    """Return the HTML of `template` (a file name without `.html.j2`)."""
    return _environment().get_template(f"{template}.html.j2").render(**values)
