"""Push subscriptions: requests that create them, and subscriptions in answers."""

from typing import Annotated

from msgspec import Meta, Struct

from ...model import Subscription
from ...push import providers
from .fields import Id, Name


class PushTokenIn(Struct, kw_only=True):
    """The address for pushes: a token, or for `web` the three values of the browser's subscription."""

    environment: Annotated[str, Meta(description="development or production", examples=["production"])] | None = None
    client_identification_sequence: (
        Annotated[str, Meta(description="the push token; not for web", examples=["fcm-token-of-this-device"])] | None
    ) = None
    bundle_identifier: str | None = None
    web_endpoint: str | None = None
    web_auth: str | None = None
    web_p256dh: str | None = None


class DeviceIn(Struct, kw_only=True):
    """The device that subscribes."""

    platform: Annotated[str, Meta(description="ios, android or web", examples=["android"])] | None = None
    udid: Annotated[str, Meta(examples=["BFE36393"])] | None = None
    client_identification_sequence: str | None = None
    bundle_identifier: str | None = None
    locale: (
        Annotated[
            str,
            Meta(
                description="the language of the device, for the text of pushes about contacts who join; a later"
                " registration without it keeps it",
                examples=["de-AT"],
            ),
        ]
        | None
    ) = None


class SubscriptionRequest(Struct, kw_only=True):
    """A request to send pushes to a device."""

    notification_channel: (
        Annotated[list[str], Meta(description=", ".join(providers.device_channels()), examples=["gcm"])] | None
    ) = None
    notification_channels: Annotated[list[str], Meta(description="another name of notification_channel")] | None = None
    push_token: PushTokenIn | None = None
    device: DeviceIn | None = None


class DeviceOut(Struct):
    """The device that subscribed."""

    udid: str
    platform: Name


class SubscriptionOut(Struct, kw_only=True):
    """A stored subscription; its push token is never returned."""

    id: Id
    notification_channel: Name
    device: DeviceOut
    environment: str
    bundle_identifier: str | None = None


class OneSubscription(Struct):
    """An object with a subscription."""

    subscription: SubscriptionOut


def subscription_out(subscription: Subscription) -> OneSubscription:
    """A subscription for an answer."""
    return OneSubscription(
        SubscriptionOut(
            id=subscription.id,
            notification_channel=Name(subscription.channel),
            device=DeviceOut(subscription.device, Name(subscription.platform)),
            environment=subscription.environment,
            bundle_identifier=subscription.bundle,
        )
    )
