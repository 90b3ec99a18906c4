"""Prints pushes on standard output instead of sending them, for development, while `push_console` is on.

    sender(app, context)   prints an application's pushes of every channel
    line(message, now)     what is printed

This is the only place that prints a text and the name in it: a developer without credentials needs to see them.
"""

import json

import msgspec

from .. import times
from ..model import App
from . import universal
from .transport import Cause, Message, Outcome, Receipt, Sender, SenderContext

SHOWN = 6  # characters of a push token: enough to tell one's own devices apart


def sender(_app: App, _context: SenderContext) -> Sender:
    """A sender that prints; it needs no settings."""
    return Console()


class Console:
    """Prints pushes on standard output."""

    async def send(self, message: Message, now: int) -> Receipt:
        """Print it."""
        try:
            print(line(message, now), flush=True)
        except (OSError, ValueError):  # it is closed, or its encoding lacks a character of the text
            reason = "standard output does not take it (push_console is on)"
            return Receipt(Outcome.LATER, reason, cause=Cause.SERVER_ERROR)
        return Receipt(Outcome.ACCEPTED, "printed, not sent (push_console is on)", cause=Cause.PRINTED)

    async def check(self, now: int) -> str:
        """There are no credentials."""
        return ""


def line(message: Message, now: int) -> str:
    """When, through which channel, to which device, the text, and the payload as JSON: one line, whatever they hold."""
    at = times.iso(now)
    device = f"{message.token[:SHOWN]}…" if message.token else "-"
    text, payload = (msgspec.json.encode(part).decode() for part in (universal.text(message.payload), message.payload))
    return _printable(
        f"DEVELOPMENT (push_console is on, nothing is sent): {at} {message.channel} {device} {text} {payload}"
    )


def _printable(words: str) -> str:
    """The text with control and invisible characters as JSON escapes, so that they do not act on a terminal."""
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in words)
