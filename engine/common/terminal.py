"""What a terminal may be given: text without what steers it, in lines that begin with a time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.text import Text

REDRAWS_PER_S = 4

# Tabs and line breaks may stay.  What else is here steers a terminal (C0, C1), turns the order of
# what is read around (bidirectional controls) or is not seen at all (separators, tags).
_CONTROLS = {
    code: "\ufffd"
    for code in (
        *range(32), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F),
        *range(0x2066, 0x2070), *range(0xD800, 0xE000), *range(0xFFF9, 0xFFFC),
        *range(0xE0000, 0xE0080),
    )
    if chr(code) not in "\t\n"
}  # fmt: skip


def stamped(text: str, at: float, stream: TextIO) -> None:
    """Write a line that begins with a time (epoch seconds) to a stream that shows progress."""
    spoken()
    with contextlib.suppress(OSError):  # whoever read it is gone: that ends no command
        stream.write(f"{time.strftime('%H:%M:%S', time.localtime(at))}  {clean(text)}\n")
        stream.flush()


def open_panel(stream: TextIO, draw: Callable[[], RenderableType]) -> Live:
    """Begin to show on a terminal what `draw` gives, again and again, until it is stopped."""
    from rich.console import Console
    from rich.live import Live

    panel = Live(
        console=Console(file=stream, force_terminal=True),
        get_renderable=draw,
        refresh_per_second=REDRAWS_PER_S,
        transient=True,
        redirect_stdout=False,
    )
    panel.start()
    spoken()
    return panel


def styled(text: str, **options: Any) -> Text:
    """Return text for a panel or a table of rich; `options` are those of its `Text`."""
    from rich.text import Text

    return Text(clean(text), **options)


def clean(text: str) -> str:
    """Return text without control characters, safe to show on a terminal."""
    return text.translate(_CONTROLS)


def spoken() -> None:
    """Note that the command at work has shown something; does nothing outside one."""
    context = click.get_current_context(silent=True)
    if context is not None and context.obj is not None:
        context.obj.spoken()
