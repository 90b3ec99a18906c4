"""Talk to a Ringbook server: sync an address book, find the contacts who are registered.

    from ringbook_client import Client, Contact, Login

    with Client("https://book.example.com", 1, "KEY", sign_in=lambda: Login("ann", "secret")) as client:
        client.upload_address_book([Contact("Bob", "+1 202 555 0142")], force=True)
        for friend in client.get_registered_users():
            print(friend.name, "is here")

The house, from the roof to the ground; imports go down only:

    roof     cli  commands                      the command ringbook-contacts
             account  display                   who is logged in on this machine · what is shown
    doors    client  aio  (shell)               Client and AsyncClient: sockets and clocks
    rules    sync  changes  state               a server's book kept in step with a phone's
             uploads  conversation              parts of an upload · retries and sign-ins
    words    calls  wire                        each call as a request, and how its answer reads
    world    sources  vcards  tables  reading   files that phones and programs export
             transport  tokens  files           the HTTP library · tokens · private files
    ground   proofs  profile  model  errors     who one is · what one says of oneself · nouns · what goes wrong

It imports nothing of the server.
"""

from .aio import AsyncClient
from .client import Client
from .errors import RingbookError
from .model import (
    CodeSent,
    Contact,
    Registered,
    Rejected,
    Removal,
    Report,
    Session,
    Subscription,
    User,
    UserPage,
)
from .proofs import Code, Email, FirebaseEmail, FirebasePhone, Guest, Login, Proof
from .sync import Plan, Synced
from .tokens import FileTokens, TokenStore
from .version import __version__

__all__ = [
    "AsyncClient",
    "Client",
    "Code",
    "CodeSent",
    "Contact",
    "Email",
    "FileTokens",
    "FirebaseEmail",
    "FirebasePhone",
    "Guest",
    "Login",
    "Plan",
    "Proof",
    "Registered",
    "Rejected",
    "Removal",
    "Report",
    "RingbookError",
    "Session",
    "Subscription",
    "Synced",
    "TokenStore",
    "User",
    "UserPage",
    "__version__",
]
