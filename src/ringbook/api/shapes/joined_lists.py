"""The list of who joined: its items in answers, and the request that marks them as seen."""

from typing import Annotated

from msgspec import Meta, Struct

from ... import model
from ..wire import iso
from .fields import ContactName, Cursor, Date, Phone
from .fields import Id as UserId

Place = Annotated[int, Meta(ge=1, description="the place in this user's list, which grows", examples=[12])]
Unseen = Annotated[int, Meta(ge=0, le=100, description="items that the app has not shown; 100 also for more")]


class JoinedUser(Struct):
    """The user who joined."""

    id: UserId
    phone: Phone | None
    full_name: Annotated[str, Meta(examples=["Ann Other"])] | None


class JoinedItem(Struct):
    """A contact who joined, with the name from the caller's own address book as it is now."""

    id: Place
    user: JoinedUser
    address_book_name: ContactName | None
    created_at: Date
    seen: Annotated[bool, Meta(examples=[False])]


class JoinedPage(Struct):
    """A part of the list of who joined."""

    items: list[JoinedItem]
    next: Cursor
    unseen: Unseen


class SeenRequest(Struct):
    """The newest item that the app has shown, and with it all older ones."""

    up_to: Place | None = None


class SeenOut(Struct):
    """What is left."""

    unseen: Unseen


def page_out(page: model.JoinedPage) -> JoinedPage:
    """A part of the list for an answer."""
    return JoinedPage([_item_out(item) for item in page.items], page.next, page.unseen)


def _item_out(item: model.JoinedContact) -> JoinedItem:
    user = JoinedUser(item.user.id, item.user.phone, item.user.full_name)
    return JoinedItem(item.place, user, item.name, iso(item.at), item.seen)
