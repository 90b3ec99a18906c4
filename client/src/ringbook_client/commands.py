"""What each command does.

login, sync, show, registered, logout
WrongUse, complain                       how one ends that cannot
"""

from __future__ import annotations

import argparse
import getpass
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from . import account, errors, sources, transport
from .account import NAME, Account, AccountTokens
from .client import Client, SignIn
from .display import Display
from .model import Session
from .proofs import Code, Email, Login, Proof


class WrongUse(Exception):
    """The command was not given what it needs."""


def complain(error: object, code: int) -> int:
    """Say on stderr what is wrong."""
    print(f"{NAME}: {error}", file=sys.stderr)
    return code


# ── the commands ─────────────────────────────────────────────────────────────────────────────────────────────────────


def login(given: argparse.Namespace, display: Display) -> None:
    """Log in, and remember it on this machine."""
    url = given.url or ask("Address of the server", "--url")
    app_id = given.app or number(ask("Application id", "--app"))
    auth_key = given.key or ask("Auth key", "--key")
    if given.device is None:
        device, own_device = uuid.uuid4().hex, True
    else:
        device, own_device = given.device, False
    new = Account(url, app_id, auth_key, device, own_device)
    with connect(url, app_id, auth_key) as client:
        if transport.is_open_to_others(client.url):
            complain("http is not encrypted: others on the way can read the password and the contacts; use https", 0)
        new, proof = identified(given, client, new)
        session = client.create_session(proof)
        new = replace(new, user_id=session.user_id, token=session.token)
        old = before()
        if old and (old.url, old.app_id, old.user_id) != (new.url, new.app_id, new.user_id):
            client.delete_session()
            raise account.SomebodyElse(f"user {old.user_id} of {old.url} is logged in here: run {NAME} logout first")
    if old and given.device is None:  # the same person goes on with the same book
        new = replace(new, device=old.device, own_device=old.own_device)
    if given.forget_password:
        new = replace(new, password=None)
    account.save(new)
    display.answer({"user_id": session.user_id, "device": new.device, "new": is_new(session)})
    display.say(f"Logged in to {url} as user {session.user_id}{', who is new' if is_new(session) else ''}.")


def before() -> Account | None:
    """Who was logged in so far."""
    try:
        return account.load()
    except account.NotLoggedIn:
        return None


def is_new(session: Session) -> bool:
    """The session has made its user, in the same moment: perhaps the login was mistyped."""
    return bool(session.user and session.created_at and session.user.created_at == session.created_at)


def identified(given: argparse.Namespace, client: Client, new: Account) -> tuple[Account, Proof]:
    """The account with who somebody is, and the proof."""
    if given.phone:
        sent = client.send_code(given.phone)
        return new, Code(sent.request_id, ask("The code in the message", "the code"))
    name = given.email or given.login or ask("Login", "--login, --email or --phone")
    secret = password(given.password_file)
    if given.email:
        return replace(new, email=name, password=secret), Email(name, secret)
    return replace(new, login=name, password=secret), Login(name, secret)


def sync(given: argparse.Namespace, display: Display) -> None:
    """Make the book on the server what a file of contacts holds."""
    reading = sources.read(given.file)
    contacts, problems = reading.contacts, reading.problems
    keep = given.keep or bool(problems and not given.remove)
    if problems and not (given.keep or given.remove):
        complain("the file has parts that cannot be read, so nobody is removed (--remove does it all the same)", 0)
    with opened() as (client, who):
        device = who.device or None
        if given.dry_run:
            plan = client.plan_sync(contacts, account.memory(), device=device, full=given.full, keep=keep)
            display.plan(plan, problems)
            return
        synced = client.sync_address_book(
            contacts,
            account.memory(),
            device=device,
            full=given.full,
            keep=keep,
            allow_empty=given.allow_empty,
            progress=display.progress,
        )
    display.synced(synced, problems)


def show(given: argparse.Namespace, display: Display) -> None:
    """Show the book on the server."""
    with opened() as (client, who):
        contacts = client.get_address_book(device=who.device or None)
    display.contacts(contacts)
    if not contacts:
        display.say(f"The book is empty. Fill it: {NAME} sync contacts.vcf")


def registered(given: argparse.Namespace, display: Display) -> None:
    """Show which contacts are registered."""
    with opened() as (client, who):
        friends = client.get_registered_users(device=who.device or None)
    display.registered(friends)
    if not friends:
        display.say(f"None of your contacts is registered yet. ({NAME} list shows who they are.)")


def logout(given: argparse.Namespace, display: Display) -> None:
    """Log out: end the session, empty this device's own book, and forget everything on this machine."""
    if given.local:
        account.load()
        account.forget()
        display.answer({})
        display.say("Forgotten here; on the server nothing has changed.")
        return
    with opened() as (client, who):
        try:
            if who.own_device and not given.keep_book:
                client.upload_address_book([], force=True, device=who.device)
            client.delete_session()
        except errors.Unauthorized:
            display.say("The session had ended already; the book of this device stays on the server.")
    account.forget()
    display.answer({})
    display.say("Logged out.")


# ── what they need ───────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def opened() -> Iterator[tuple[Client, Account]]:
    """A client for whoever is logged in."""
    who = account.load()
    proof = who.proof()
    with connect(who.url, who.app_id, who.auth_key, (lambda: proof) if proof else None, AccountTokens(who)) as client:
        yield client, who


def connect(
    url: str, app_id: int, auth_key: str, sign_in: SignIn | None = None, tokens: AccountTokens | None = None
) -> Client:
    """A client for a server whose address somebody has typed."""
    try:
        return Client(url, app_id, auth_key, sign_in=sign_in, tokens=tokens)
    except ValueError as error:
        raise WrongUse(str(error)) from None


def ask(what: str, option: str) -> str:
    """Have something typed; the question goes to stderr, stdout is for answers."""
    print(f"{what}: ", end="", file=sys.stderr, flush=True)
    try:
        typed = input().strip()
    except EOFError:
        typed = ""
    if not typed:
        raise WrongUse(f"no answer: give {option}")
    return typed


def number(typed: str) -> int:
    """The id of an application."""
    if not (typed.isascii() and typed.isdigit()):
        raise WrongUse("the id of an application is a number, such as 1")
    return int(typed)


def password(file: str | None) -> str:
    """A password from a file's first line, "-" for stdin, or typed without showing."""
    if file is None:
        if not sys.stdin.isatty():
            raise WrongUse("nobody is here to type the password: give --password-file FILE, or - for standard input")
        return getpass.getpass("Password: ")
    try:
        text = sys.stdin.readline() if file == "-" else Path(file).read_text("utf-8")
    except UnicodeDecodeError:
        raise WrongUse("the password is not in UTF-8") from None
    return text.partition("\n")[0].rstrip("\r")
