"""Checks an application's credentials with the push providers. No push is sent.

check(config, app, …)   what is wrong with the credentials of each provider; "" where nothing is
"""

import asyncio
from collections.abc import Sequence

from .. import times
from ..config import Config
from ..model import App
from . import providers
from .providers import Provider
from .transport import NotSetUp, SenderContext

ANSWER_SECONDS = 25  # for one provider


def check(config: Config, app: App, vapid_private_key: str, checked: Sequence[Provider]) -> dict[str, str]:
    """What is wrong with the credentials of each provider, by the provider's key; "" where nothing is.

    Takes up to ANSWER_SECONDS for each.
    """
    return asyncio.run(_check_all(config, app, vapid_private_key, checked))


async def _check_all(config: Config, app: App, vapid_private_key: str, checked: Sequence[Provider]) -> dict[str, str]:
    from .connections import Connections

    async with Connections.of(config) as connections:
        context = SenderContext(config=config, connections=connections, vapid_private_key=vapid_private_key)
        return {provider.key: await _check(provider, app, context) for provider in checked}


async def _check(provider: Provider, app: App, context: SenderContext) -> str:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            sender = providers.sender(next(iter(provider.channels)), app, context)
            return await sender.check(times.now())
    except NotSetUp as missing:
        return str(missing)
    except TimeoutError:
        return f"no answer within {ANSWER_SECONDS} seconds"
