"""Text from outside as a terminal may show it.

safe(text)        the text on one line, with everything that a terminal would obey made visible
safe_json(text)   the same for JSON text, whose values stay the same
progress(unit)    a progress bar

A name, a device or a login is chosen by strangers. Escape sequences in it change the title of a terminal, clear its
screen or type on its keyboard; bidi overrides and isolates show other text than there is; line breaks add lines that
look like ours. Letters of all scripts, combining marks, emoji and right-to-left text stay as they are.
"""

import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Zero-width joiners, which many scripts and emoji need, and marks that have no more effect than a right-to-left letter.
HARMLESS = "\u200c\u200d\u200e\u200f\u061c"
OBEYED = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories: control, format, half a surrogate pair, line breaks


def safe(text: str) -> str:
    """The text, with `\\x1b`, `\\u202e` and the like for each character that a terminal would obey."""
    return text if text.isascii() and text.isprintable() else "".join(map(_visible, text))


def safe_json(text: str) -> str:
    """JSON text with line breaks between its values, and escapes for what a terminal would obey within them."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(one if one == "\n" or not _is_obeyed(one) else _json_escape(one) for one in text)


@contextmanager
def progress(unit: str, finishing: str = "") -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal, with the text `finishing`, if there is one, when all is done."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(unit, visible=False)

        def shown(done: int, total: int) -> None:
            text = unit if done < total else finishing or unit
            bar.update(task, completed=done, total=total, description=text, visible=True)

        yield shown


def _visible(one: str) -> str:
    return one.encode("unicode_escape").decode() if _is_obeyed(one) else one


def _is_obeyed(one: str) -> bool:
    return unicodedata.category(one) in OBEYED and one not in HARMLESS


def _json_escape(one: str) -> str:
    units = one.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
