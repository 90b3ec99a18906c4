"""Do providers take an application's credentials? Nothing is sent to anybody.

NEEDED               by channel, the settings that it is set up with
SEEN                 by channel, what is seen when nothing is wrong
ask(config, app, …)  what is wrong with each channel
"""

import asyncio
import time
from collections.abc import Sequence
from urllib.parse import urljoin

from ..config import Config
from ..model import App
from ..outbound.requests import Outgoing, silence
from . import channels
from .transport import NotSetUp, SenderContext

NEEDED = {
    "gcm": ("fcm_service_account",),
    "apns": ("apns_key", "apns_key_id", "apns_team_id"),
    "web": ("web_push_contact",),
    "webhook": ("webhook_url", "webhook_secret"),
}
SEEN = {
    "gcm": "FCM takes fcm_service_account",
    "apns": "apns_key can sign; Apple judges it by the first push",
    "web": "the application's keys go together",
    "webhook": "its server answers, and the key is set; nothing is sent",
}
ANSWER_SECONDS = 25


def ask(config: Config, app: App, vapid_private_key: str, wanted: Sequence[str]) -> dict[str, str]:
    """What is wrong with each channel; "" where nothing is. Takes up to ANSWER_SECONDS a channel."""
    found = asyncio.run(_asked(config, app, vapid_private_key, wanted))
    if found.get("webhook") == "":
        outgoing = Outgoing.of(config)
        found["webhook"] = silence(outgoing, urljoin(app.settings.webhook_url, "/"))
    return found


async def _asked(config: Config, app: App, vapid_private_key: str, wanted: Sequence[str]) -> dict[str, str]:
    from .connections import Connections

    async with Connections.of(config) as connections:
        way = SenderContext(config=config, connections=connections, vapid_private_key=vapid_private_key)
        return {channel: await _trouble(channel, app, way) for channel in wanted}


async def _trouble(channel: str, app: App, way: SenderContext) -> str:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await channels.sender(channel, app, way).check(int(time.time()))
    except NotSetUp as missing:
        return str(missing)
    except TimeoutError:
        return f"no answer within {ANSWER_SECONDS} seconds"
