"""Push subscriptions over HTTP (protocol §5)."""

from .. import errors
from ..core import subscriptions
from ..model import Subscription
from ..push import providers
from .endpoint import Answer, Call, Route
from .shapes.subscriptions import DeviceIn, OneSubscription, PushTokenIn, SubscriptionRequest, subscription_out
from .wire import keyword, named, take

# The names of fields in requests, by their names in core. A browser's token is an endpoint.
NAMES = {
    "channel": "notification_channel",
    "device": "udid",
    "bundle": "bundle_identifier",
    "token": "client_identification_sequence",
    "endpoint": "web_endpoint",
}


def subscribe(call: Call) -> Answer:
    """Register a device for pushes

    There is one subscription per user, device, channel and environment: registering again replaces the push token and
    keeps the id. A push token belongs to the user who registered it last.
    """
    wanted = requested(take(SubscriptionRequest, call.values), call.user_id)
    with named(NAMES):
        stored = subscriptions.subscribe(call.db, call.config, call.app, wanted, call.now)
    return Answer([subscription_out(one) for one in stored], status=201)


def requested(asked: SubscriptionRequest, user_id: int) -> list[Subscription]:
    """One subscription per channel. QuickBlox's native SDKs send token and bundle inside `device`."""
    token, device = asked.push_token or PushTokenIn(), asked.device or DeviceIn()
    channels = [keyword(name) for name in asked.notification_channel or asked.notification_channels or []]
    if not channels:
        raise errors.Invalid("can't be blank", field="notification_channel")
    push_token = token.client_identification_sequence or device.client_identification_sequence or ""
    return [
        Subscription(
            id=0,
            user_id=user_id,
            device=device.udid or "",
            platform=keyword(device.platform),
            channel=channel,
            environment=keyword(token.environment),
            bundle=token.bundle_identifier or device.bundle_identifier,
            token=(token.web_endpoint or "") if providers.channel(channel).names_own_host else push_token,
            web_auth=token.web_auth if providers.channel(channel).names_own_host else None,
            web_p256dh=token.web_p256dh if providers.channel(channel).names_own_host else None,
            locale=device.locale or None,
        )
        for channel in dict.fromkeys(channels)
    ]


def show(call: Call) -> Answer:
    """List your subscriptions"""
    return Answer([subscription_out(one) for one in subscriptions.of_user(call.db, call.user_id)])


def unsubscribe(call: Call) -> Answer:
    """Delete one of your subscriptions"""
    subscriptions.unsubscribe(call.db, call.user_id, call.path_id())
    return Answer()


ROUTES = [
    Route(
        method="POST",
        path="/subscriptions",
        handler=subscribe,
        status=201,
        request=SubscriptionRequest,
        answer=list[OneSubscription],
        refusals=(422,),
    ),
    Route(method="GET", path="/subscriptions", handler=show, answer=list[OneSubscription]),
    Route(method="DELETE", path="/subscriptions/{id}", handler=unsubscribe, refusals=(404,)),
]
