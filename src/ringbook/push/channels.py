"""The channels there are, the only list.

    CHANNELS           by name, the file that sends through it
    sender(channel, …) the sender of an application, or NotSetUp

To add a provider: a file with `sender(app, way)`, and a line here. A file is loaded when it is first needed, since each
brings libraries along, and most servers need one or two.
"""

from importlib import import_module
from typing import cast

from ..model import App
from .transport import NotSetUp, Sender, SenderContext

CHANNELS = {
    "apns": "apns",
    "apns_voip": "apns",
    "gcm": "fcm",
    "web": "webpush",
    "webhook": "webhook",
}


def sender(channel: str, app: App, way: SenderContext) -> Sender:
    """The sender of an application through a channel; NotSetUp says which setting is missing."""
    if channel not in CHANNELS:
        raise NotSetUp(f"this version knows no channel {channel}")
    file = "console" if app.settings.push_console else CHANNELS[channel]
    return cast(Sender, import_module(f".{file}", __package__).sender(app, way))
