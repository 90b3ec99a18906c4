"""The universal payload: one flat object that each provider reads its own part of (docs/wire.md §6.2).

text(payload)      what a person reads
custom(payload)    what an app reads: all keys that no platform claims for itself
cut(text, fits)    as much of a text as fits
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
    """The text that a person reads; "" when there is none."""
    value = payload.get(MESSAGE)
    return "" if value is None else str(value)


def custom(payload: dict[str, Any]) -> dict[str, Any]:
    """Everything that goes through as it is."""
    return {key: value for key, value in payload.items() if key not in CLAIMED}


def cut(whole: str, fits: Callable[[str], bool]) -> str | None:
    """The text, or the most of it that fits with … at its end; None when not even that does.

    fits   is true for a text and all shorter ones, or false for it and all longer ones
    """
    if fits(whole):
        return whole
    first_too_long = bisect_left(range(len(whole)), True, key=lambda kept: not fits(whole[:kept] + "…"))
    return whole[: first_too_long - 1] + "…" if first_too_long else None
