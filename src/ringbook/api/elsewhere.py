"""Calls of ConnectyCube and QuickBlox that Ringbook does not have.

    CALLS            the calls, one row for each path; docs/api.md shows them as a table
    missing(path)    what a path is for, if a vendor's call has it; "" for a path that is no call of a vendor
    reason(what)     the reason of the 404
    table()          the rows of the table in docs/api.md

The answer to such a call is 404 like that to any unknown path, and says what this server does not have.
Sources: ConnectyCube, "Server API"; QuickBlox, "REST API"; connectycube 6.1.2 and quickblox 2.23.0 on npm; the public
classes of ConnectyCube's Android SDK 1.9.3.
"""

from msgspec import Struct

CONNECTYCUBE, QUICKBLOX, BOTH = "ConnectyCube", "QuickBlox", "both"
REFERENCE = "/docs"  # of a running server
SHARED = {"session", "users"}  # the first parts of paths of which Ringbook has some


def first_part(path: str) -> str:
    """`chat` of `/chat/Dialog`."""
    return path.split("/")[1]


class Call(Struct, frozen=True):
    """The calls of a vendor at one path."""

    path: str
    methods: str
    vendor: str
    what: str


CALLS = (
    Call("/chat/Dialog", "GET, POST", BOTH, "chat"),
    Call("/chat/Dialog/{ids}", "PUT, DELETE", BOTH, "chat"),
    Call("/chat/Dialog/clearHistory/{id}", "DELETE", CONNECTYCUBE, "chat"),
    Call("/chat/Dialog/{id}/subscribe", "POST, DELETE", CONNECTYCUBE, "chat"),
    Call("/chat/Dialog/{id}/block", "GET, POST, DELETE", CONNECTYCUBE, "chat"),
    Call("/chat/Dialog/{id}/admins", "PUT", CONNECTYCUBE, "chat"),
    Call("/chat/Dialog/{id}/notifications", "GET, PUT", BOTH, "chat"),
    Call("/chat/Dialog/{id}/occupants", "GET", CONNECTYCUBE, "chat"),
    Call("/chat/Dialogs/add_occupants", "PUT", QUICKBLOX, "chat"),
    Call("/chat/Dialogs/remove_occupants", "PUT", QUICKBLOX, "chat"),
    Call("/chat/Message", "GET, POST", BOTH, "chat"),
    Call("/chat/Message/unread", "GET", BOTH, "chat"),
    Call("/chat/Message/system", "POST", CONNECTYCUBE, "chat"),
    Call("/chat/Message/{ids}", "PUT, DELETE", BOTH, "chat"),
    Call("/chat/Message/{id}/reactions", "GET, PUT", CONNECTYCUBE, "chat"),
    Call("/chat/search", "GET", CONNECTYCUBE, "chat"),
    Call("/blobs", "GET, POST", BOTH, "files"),
    Call("/blobs/{id}", "GET, PUT, DELETE", BOTH, "files"),
    Call("/blobs/{id}/complete", "PUT", BOTH, "files"),
    Call("/blobs/{uid}/download", "GET", CONNECTYCUBE, "files"),
    Call("/blobs/{uid}/object", "GET", CONNECTYCUBE, "files"),
    Call("/data/{class}", "GET, POST", BOTH, "custom objects"),
    Call("/data/{class}/{ids}", "GET, PUT, DELETE", BOTH, "custom objects"),
    Call("/data/{class}/multi", "POST, PUT", BOTH, "custom objects"),
    Call("/data/{class}/by_criteria", "PUT, DELETE", BOTH, "custom objects"),
    Call("/data/{class}/{id}/file", "GET, POST, DELETE", QUICKBLOX, "custom objects"),
    Call("/meetings", "GET, POST", CONNECTYCUBE, "meetings"),
    Call("/meetings/{id}", "PUT, DELETE", CONNECTYCUBE, "meetings"),
    Call("/meetings/recordings/{id}", "GET", CONNECTYCUBE, "meetings"),
    Call("/calls/reject", "POST", CONNECTYCUBE, "calls"),
    Call("/whiteboards", "GET, POST", CONNECTYCUBE, "whiteboards"),
    Call("/whiteboards/{id}", "PUT, DELETE", CONNECTYCUBE, "whiteboards"),
    Call("/unfurl", "GET", CONNECTYCUBE, "previews of links"),
    Call("/ai/ai_extensions/ai_answer_assist", "POST", QUICKBLOX, "artificial intelligence"),
    Call("/ai/ai_extensions/ai_translate", "POST", QUICKBLOX, "artificial intelligence"),
    Call("/ai/ai_extensions/ai_gateway", "POST", QUICKBLOX, "artificial intelligence"),
    Call("/geodata", "GET, POST", QUICKBLOX, "locations"),
    Call("/push_tokens", "POST", QUICKBLOX, "push tokens apart from subscriptions"),
    Call("/account_settings", "GET", QUICKBLOX, "accounts of the vendor"),
    Call("/users/by_twitter_digits_id", "GET", QUICKBLOX, "Twitter Digits"),
    Call("/session/web", "POST", CONNECTYCUBE, "sign-in of a web page through a phone"),
)
BY_PATH = {call.path: call.what for call in CALLS}
BY_FIRST_PART = {first_part(call.path): call.what for call in CALLS if first_part(call.path) not in SHARED}


def missing(path: str) -> str:
    """What a path without `.json` is for, if a vendor's call has it; "" for a path that is no call of a vendor."""
    return BY_PATH.get(path) or BY_FIRST_PART.get(first_part(path), "")


def reason(what: str) -> str:
    """The reason of a 404 for a call that Ringbook does not have."""
    return f"This server has address books and contact discovery only, and no {what}: see {REFERENCE}"


def table() -> list[str]:
    """The rows of the table in docs/api.md, in Markdown."""
    return [f"| `{call.path}` | {call.methods} | {call.vendor} | {call.what} |" for call in CALLS]
