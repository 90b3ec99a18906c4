"""The account that is logged in on this machine, for the command: a file of mode 0600 in the configuration folder.

Account                           the server, the application, the session and the credentials
AccountTokens                     keeps the session token in the account's file
credentials_path, state_path      the paths of the account's file and of the sync's state file
load, save, delete_files          read and write the account; delete both files
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from . import files
from .errors import RingbookError
from .proofs import Email, Login, Proof

PROGRAM = "ringbook-contacts"


class NotLoggedIn(RingbookError):
    """No account is logged in on this machine."""


class OtherAccount(RingbookError):
    """Another account is logged in on this machine."""


class NoHomeFolder(RingbookError):
    """The user has no home folder, so there is no place for the files."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user on a server.

    device       the device whose address book this machine syncs; "" is the one that all devices of the user share
    own_device   the device name was generated on this machine, so no other machine uses it
    password     saved so that scheduled syncs can open sessions; None if it is not saved
    """

    url: str
    app_id: int
    auth_key: str = field(repr=False)
    device: str
    own_device: bool
    user_id: int | None = None
    login: str | None = None
    email: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    def proof(self) -> Proof | None:
        """The proof that opens another session; None if the password is not saved."""
        if self.password and self.email:
            return Email(self.email, self.password)
        if self.password and self.login:
            return Login(self.login, self.password)
        return None


@dataclass
class AccountTokens:
    """A `TokenStore` that keeps the session token in the account's file."""

    account: Account

    def load(self) -> str | None:
        return self.account.token

    def save(self, token: str | None) -> None:
        self.account = replace(self.account, token=token)
        save(self.account)


def credentials_path() -> Path:
    """The path of the account's file."""
    return _folder("XDG_CONFIG_HOME", ".config") / PROGRAM / "credentials.json"


def state_path() -> Path:
    """The path of the sync's state file."""
    return _folder("XDG_STATE_HOME", ".local/state") / PROGRAM / "state.json"


def load() -> Account:
    """The account that is logged in. Raises NotLoggedIn if there is none."""
    try:
        text = files.read(credentials_path())
        if text is None:
            raise NotLoggedIn(f"you are not logged in: run {PROGRAM} login")
        return Account(**json.loads(text))
    except (ValueError, TypeError):
        raise NotLoggedIn(f"{credentials_path()} cannot be read: run {PROGRAM} login again") from None


def save(account: Account) -> None:
    """Save the account as the one that is logged in."""
    files.write(credentials_path(), json.dumps(asdict(account)))


def delete_files() -> None:
    """Delete the account's file and the sync's state file."""
    files.remove(credentials_path())
    files.remove(state_path())


def _folder(variable: str, default: str) -> Path:
    """A folder of the XDG Base Directory Specification, which says to ignore a relative path in the variable."""
    given = Path(os.environ.get(variable) or ".")
    try:
        return given if given.is_absolute() else Path.home() / default
    except RuntimeError:
        raise NoHomeFolder(f"this user has no home folder: set {variable} to a folder for {PROGRAM}") from None
