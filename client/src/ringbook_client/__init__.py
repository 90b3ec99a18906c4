"""A client for Ringbook servers: syncs an address book and finds the contacts who are registered users.

    from ringbook_client import Client, Contact, Login

    with Client("https://book.example.com", 1, "KEY", sign_in=lambda: Login("ann", "secret")) as client:
        client.upload_address_book([Contact("Bob", "+1 202 555 0142")], force=True)
        for friend in client.get_registered_users():
            print(friend.name, "is here")

The layers of the package, from the top; a module imports only from lower layers:

    command   cli  commands                      the command ringbook-contacts
              account  display                   the account on this machine; the output
    clients   client  aio  base_client           Client and AsyncClient, which use sockets and clocks
    rules     sync  changes  state               syncing an address book
              uploads  retries                   uploads in parts; retries and sign-ins
    API       calls  wire                        the requests; the answers
    input     sources  vcards  tables  reading   files of contacts, as phones and programs export them
              transport  tokens  files           the HTTP library; token stores; private files
    base      proofs  profile  model  errors     proofs of identity; profile fields; values; exceptions

The package imports nothing of the server.
"""

from .aio import AsyncClient
from .client import Client
from .errors import RingbookError
from .model import (
    CodeSent,
    Contact,
    Joined,
    JoinedPage,
    JoinedSettings,
    NewlyRegistered,
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
    "Joined",
    "JoinedPage",
    "JoinedSettings",
    "Login",
    "NewlyRegistered",
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
