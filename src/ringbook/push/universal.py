"""The universal payload: one flat object, from which each provider takes its own keys (docs/wire.md §6.2).

text(payload)      the text for a person
custom(payload)    the keys for the app: all that no platform reserves
    of_app(payload)    the same, with those in a payload for APNs
    of_apns(payload)   a payload in the format of APNs as a universal one
cut(text, fits)    a text, shortened until it fits
"""

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

MESSAGE = "message"
APNS_PAYLOAD = "apns_payload"  # a payload as APNs takes it, which goes out as it is but for the text
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
    "apns_payload",
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


def of_app(payload: dict[str, Any]) -> dict[str, Any]:
    """The keys that reach the app, also those in a payload for APNs, where `aps` is one of them."""
    given = payload.get(APNS_PAYLOAD)
    return custom(payload) | (given if isinstance(given, dict) else {})


def of_apns(payload: dict[str, Any]) -> dict[str, Any]:
    """A payload in the format of APNs, with its dictionary `aps`, as a universal one.

    Source: Apple, "Generating a remote notification": `alert` is a text or a dictionary with `body`.
    """
    alert = payload["aps"].get("alert")
    words = alert.get("body") if isinstance(alert, dict) else alert
    return ({MESSAGE: words} if isinstance(words, str) and words else {}) | {APNS_PAYLOAD: payload}


def cut(whole: str, fits: Callable[[str], bool]) -> str | None:
    """The whole text, or its longest beginning that fits with … at its end; None when not even … fits.

    fits   is true for a text and all shorter ones, or false for it and all longer ones
    """
    if fits(whole):
        return whole
    first_too_long = bisect_left(range(len(whole)), True, key=lambda kept: not fits(whole[:kept] + "…"))
    return whole[: first_too_long - 1] + "…" if first_too_long else None
