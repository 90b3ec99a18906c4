"""Events: pushes from one user to others."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from .fields import Date, Id, Name


class TagsIn(Struct, kw_only=True):
    """Recipients by their tags: at most 20 in all, each as a list or a text with commas; all conditions must hold."""

    any: Annotated[list[str], Meta(description="at least one of these", examples=[["vip"]])] | None = None
    all: Annotated[list[str], Meta(description="exactly these", examples=[["vip", "beta"]])] | None = None
    exclude: (
        Annotated[list[str], Meta(description="none of these; beside `any` or `all`", examples=[["left"]])] | None
    ) = None


class ExternalIn(Struct, kw_only=True):
    """Recipients by ids of the app's own."""

    ids: (
        Annotated[
            list[str],
            Meta(
                description="at most 100 of `external_id`, else of `external_user_id`; also a text with commas",
                examples=[["51"]],
            ),
        ]
        | None
    ) = None


class RecipientsIn(Struct, kw_only=True):
    """The recipients of an event, by ids or by tags."""

    ids: (
        Annotated[list[int], Meta(description="at most 100; also a single id, or a text with commas", examples=[[271]])]
        | None
    ) = None
    tags: TagsIn | None = None


class EventIn(Struct, kw_only=True):
    """A push in the universal format. Other fields are refused, or ignored when they have no effect."""

    notification_type: Annotated[str, Meta(description="push", examples=["push"])] | None = None
    event_type: Annotated[str, Meta(description="one_shot", examples=["one_shot"])] | None = None
    environment: (
        Annotated[str, Meta(description="of the subscriptions: development or production", examples=["production"])]
        | None
    ) = None
    message: (
        Annotated[
            str,
            Meta(
                description="required: base64 of a text, or of a JSON object with `message` or own keys, at most 4 KiB",
                examples=["eyJtZXNzYWdlIjoiaGkifQ=="],
            ),
        ]
        | None
    ) = None
    push_type: (
        Annotated[
            str, Meta(description="apns, apns_voip or gcm: only this channel, also in its format", examples=["apns"])
        ]
        | None
    ) = None
    user: RecipientsIn | None = None
    external_user: ExternalIn | None = None


class EventRequest(Struct):
    """A push from one user to others."""

    event: EventIn


class EventOut(Struct, kw_only=True):
    """A push that was accepted, through one channel."""

    id: Id
    event_type: str = "one_shot"
    message: (
        Annotated[
            str,
            Meta(
                description="in the answer to sending it, as base64 of JSON; null later, because it is not kept",
                examples=["eyJtZXNzYWdlIjoiaGkifQ=="],
            ),
        ]
        | None
    ) = None
    date: None = None
    period: None = None
    name: None = None
    occured_count: int = 0  # the spelling of the wire format
    created_at: Date
    updated_at: Date
    end_date: None = None
    active: Annotated[bool, Meta(description="false once it has expired")] = True
    application_id: Annotated[int, Meta(examples=[1])]
    user_id: Annotated[int, Meta(description="the sender", examples=[271])]
    kind: str = "API"
    environment: str
    tag_query: None = None
    notification_channel: Name


class OneEvent(Struct):
    """An object with an event."""

    event: EventOut


class EventPage(Struct):
    """Events, each wrapped, and how many there are on all pages."""

    current_page: Annotated[int, Meta(examples=[1])]
    per_page: Annotated[int, Meta(examples=[10])]
    total_entries: Annotated[int, Meta(examples=[1])]
    items: list[OneEvent]


class EventStatusOut(Struct):
    """The status of an event as a whole; it says nothing about the recipients."""

    id: Id
    status: Annotated[Literal["accepted", "ended"], Meta(description="ended: it has expired", examples=["accepted"])]
    expires_at: Date


class OneEventStatus(Struct):
    """An object with the status of an event."""

    event: EventStatusOut
