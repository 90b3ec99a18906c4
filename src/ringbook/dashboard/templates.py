"""Templates, and the words in which they show times and numbers.

    render(template, …)     a page as HTML; what is put into it is text, never HTML
    ago, moment, count      filters

All under `templates/`; the parts that pages share are macros in `_macros.html`, icons are Lucide's.
"""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from .. import __version__, phone, times
from . import assets, cookies
from .nav import PLACES

if TYPE_CHECKING:
    import jinja2

    from .endpoint import Call

FOLDER = Path(__file__).parent / "templates"
UNITS = [(86_400 * 365, "y"), (86_400 * 30, "mo"), (86_400, "d"), (3_600, "h"), (60, "min")]


def render(template: str, *, call: "Call", **values: Any) -> str:
    """A template with these values; it also knows the `call`, the time and the theme."""
    theme = cookies.theme(call.request)
    return _environment().get_template(template).render(call=call, now=call.now, theme=theme, **values)


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
    words = (ago, moment, count, prose, tail)
    made.filters |= {one.__name__: one for one in words} | {"bytes": size, "digits": phone.digits}
    made.globals |= {"href": assets.href, "icon": icon, "version": __version__, "places": PLACES}
    return made


@cache
def icon(name: str) -> Markup:
    """One of Lucide's icons; it says nothing to who cannot see it."""
    shape = (FOLDER / "icons" / f"{name}.svg").read_text().strip()
    return Markup(
        '<svg class="icon" aria-hidden="true" focusable="false" viewBox="0 0 24 24" fill="none" stroke="currentColor"'
        ' stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round">' + shape + "</svg>"
    )


def prose(text: str) -> Markup:
    """A text as HTML, with what stands between backticks as code."""
    parts = [f"<code>{escape(part)}</code>" if at % 2 else escape(part) for at, part in enumerate(text.split("`"))]
    return Markup("").join(Markup(part) for part in parts)


def ago(at: int | None, now: int) -> Markup:
    """How long ago that was, with the moment itself for who wants to know; never is a dash."""
    if at is None:
        return Markup('<span class="soft">never</span>')
    seconds = abs(now - at)
    found = next(((seconds // unit, name) for unit, name in UNITS if seconds >= unit), None)
    if found is None:
        words = "just now" if at <= now else "in a moment"
    else:
        words = f"{found[0]} {found[1]} ago" if at <= now else f"in {found[0]} {found[1]}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(times.iso(at), f"{_plain(at)} UTC", words)


def moment(at: int | None) -> Markup:
    """A time, UTC, to the minute."""
    if at is None:
        return Markup('<span class="soft">–</span>')
    return Markup('<time datetime="{}">{}</time>').format(times.iso(at), _plain(at)[:16])


def _plain(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def tail(typed: str | None) -> str:
    """A phone as a list may show it: its last two digits."""
    digits = [sign for sign in typed or "" if sign.isdecimal()]
    return "…" + "".join(digits[-2:]) if digits else "–"


def count(number: int) -> str:
    """A number with thin spaces between its thousands."""
    return f"{number:,}".replace(",", "\u2009")


def size(number: int) -> str:
    """A number of bytes in the unit that reads best."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return f"{number} bytes"
