"""Who is logged in on this machine, for the command: a file of mode 0600 in the user's folder for settings.

Account                 the server, the application, the session, and how to open the next one
credentials, memory     where this file is, and the one that a sync remembers things in
load, save, forget
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
    """There is no account on this machine."""


class OtherAccount(RingbookError):
    """Another account is on this machine."""


class NoHomeFolder(RingbookError):
    """There is no folder to keep an account in."""


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody on a server.

    device       the book on the server that this machine syncs; "" for the one that all devices of the user share
    own_device   the name of the device was made up here, so that nobody else has it
    password     kept, so that a sync from a timetable can open its own sessions; None: it is not
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
        """How to open another session; None if only the person can."""
        if self.password and self.email:
            return Email(self.email, self.password)
        if self.password and self.login:
            return Login(self.login, self.password)
        return None


@dataclass
class AccountTokens:
    """Keeps the session's token in the account's file."""

    account: Account

    def load(self) -> str | None:
        return self.account.token

    def save(self, token: str | None) -> None:
        self.account = replace(self.account, token=token)
        save(self.account)


def credentials_path() -> Path:
    """The account's file."""
    return _folder("XDG_CONFIG_HOME", ".config") / PROGRAM / "credentials.json"


def state_path() -> Path:
    """What a sync remembers."""
    return _folder("XDG_STATE_HOME", ".local/state") / PROGRAM / "state.json"


def load() -> Account:
    """Who is logged in."""
    try:
        text = files.read(credentials_path())
        if text is None:
            raise NotLoggedIn(f"nobody is logged in here: run {PROGRAM} login")
        return Account(**json.loads(text))
    except (ValueError, TypeError):
        raise NotLoggedIn(f"{credentials_path()} cannot be read: run {PROGRAM} login again") from None


def save(account: Account) -> None:
    """This is who is logged in."""
    files.write(credentials_path(), json.dumps(asdict(account)))


def delete_files() -> None:
    """Nobody is logged in, and nothing is remembered."""
    files.remove(credentials_path())
    files.remove(state_path())


def _folder(variable: str, default: str) -> Path:
    """A folder by the XDG Base Directory Specification: a relative path in the variable does not count."""
    given = Path(os.environ.get(variable) or ".")
    try:
        return given if given.is_absolute() else Path.home() / default
    except RuntimeError:
        raise NoHomeFolder(f"this user has no home folder: set {variable} to a folder for {PROGRAM}") from None
