"""Renders the templates, and formats times and numbers for them.

    render(template, …)     a page as HTML; values are escaped
    ago, moment, day, count, size, tail, prose, breakable    filters

The templates are in `templates/`, the macros that pages share in `_macros.html`. The icons come from Lucide.
"""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from .. import __version__, phone, times
from .assets import FILES
from .nav import PLACES

if TYPE_CHECKING:
    import jinja2

FOLDER = Path(__file__).parent / "templates"
UNITS = [(86_400 * 365, "y"), (86_400 * 30, "mo"), (86_400, "d"), (3_600, "h"), (60, "min")]


def render(template: str, **values: Any) -> str:
    """A template with these values. Every page needs `call`, `now`, `theme` and `flash` for its frame."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> "jinja2.Environment":
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (ago, moment, day, count, prose, breakable, tail)
    made.filters |= {function.__name__: function for function in filters}
    made.filters |= {"bytes": size, "digits": phone.digits, "masked": phone.masked}
    made.globals |= {"href": FILES.href, "icon": icon, "version": __version__, "places": PLACES}
    return made


@cache
def icon(name: str) -> Markup:
    """One of Lucide's icons; screen readers skip it."""
    shape = (FOLDER / "icons" / f"{name}.svg").read_text().strip()
    return Markup(
        '<svg class="icon" aria-hidden="true" focusable="false" viewBox="0 0 24 24" fill="none" stroke="currentColor"'
        ' stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round">' + shape + "</svg>"
    )


def prose(text: str) -> Markup:
    """A text as HTML; text between backticks becomes code."""
    parts = [f"<code>{escape(part)}</code>" if at % 2 else escape(part) for at, part in enumerate(text.split("`"))]
    return Markup("").join(Markup(part) for part in parts)


def breakable(name: str) -> Markup:
    """A long name as HTML, which may be broken after each underscore."""
    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))


def ago(at: int | None, now: int) -> Markup:
    """How long ago a time was, with the exact time as a tooltip; "never" for None."""
    if at is None:
        return Markup('<span class="soft">never</span>')
    seconds = abs(now - at)
    largest = next((f"{seconds // unit} {name}" for unit, name in UNITS if seconds >= unit), None)
    if largest is None:
        words = "just now" if at <= now else "in a moment"
    else:
        words = f"{largest} ago" if at <= now else f"in {largest}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(times.iso(at), f"{_plain(at)} UTC", words)


def moment(at: int | None) -> Markup:
    """A time in UTC, to the minute; a dash for None."""
    if at is None:
        return Markup('<span class="soft">–</span>')
    return Markup('<time datetime="{}">{}</time>').format(times.iso(at), _plain(at)[:16])


def day(at: int) -> str:
    """A day in UTC, as in `24 Nov 2026`."""
    then = datetime.fromtimestamp(at, UTC)
    return f"{then.day} {then:%b %Y}"


def _plain(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def tail(typed: str | None) -> str:
    """The last two digits of a phone, for lists."""
    digits = [sign for sign in typed or "" if sign.isdecimal()]
    return "…" + "".join(digits[-2:]) if digits else "–"


def count(number: int) -> str:
    """A number with thin spaces as thousands separators."""
    return f"{number:,}".replace(",", "\u2009")


def size(number: int) -> str:
    """A number of bytes in KiB, MiB or GiB."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return f"{number} bytes"
