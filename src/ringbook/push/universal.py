"""The universal payload: one flat object, from which each provider takes its own keys (docs/wire.md §6.2).

text(payload)      the text for a person
custom(payload)    the keys for the app: all that no platform reserves
cut(text, fits)    a text, shortened until it fits
"""

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

MESSAGE = "message"
APPLE = {
    "ios_badge",
    "ios_sound",
    "ios_category",
    "ios_thread_id",
    "ios_content_available",
    "ios_mutable_content",
    "ios_voip",
    "ios_push_type",
    "ios_loc_data",
}
ANDROID = {"android_fcm_notification"}
COMMON = {MESSAGE, "expiration"}
CLAIMED = APPLE | ANDROID | COMMON


def text(payload: dict[str, Any]) -> str:
    """The text for a person; "" when there is none."""
    value = payload.get(MESSAGE)
    return "" if value is None else str(value)


def custom(payload: dict[str, Any]) -> dict[str, Any]:
    """The keys that are passed to the app unchanged."""
    return {key: value for key, value in payload.items() if key not in CLAIMED}


def cut(whole: str, fits: Callable[[str], bool]) -> str | None:
    """The whole text, or its longest beginning that fits with … at its end; None when not even … fits.

    fits   is true for a text and all shorter ones, or false for it and all longer ones
    """
    if fits(whole):
        return whole
    first_too_long = bisect_left(range(len(whole)), True, key=lambda kept: not fits(whole[:kept] + "…"))
    return whole[: first_too_long - 1] + "…" if first_too_long else None
