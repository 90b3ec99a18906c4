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
from .account import PROGRAM, Account, AccountTokens
from .client import Client, SignIn
from .display import Display
from .model import Session
from .proofs import Code, Email, Login, Proof


class WrongUse(Exception):
    """The command was not given what it needs."""


def print_error(error: object, code: int) -> int:
    """Say on stderr what is wrong."""
    print(f"{PROGRAM}: {error}", file=sys.stderr)
    return code


# ── the commands ─────────────────────────────────────────────────────────────────────────────────────────────────────


def login(args: argparse.Namespace, display: Display) -> None:
    """Log in, and remember it on this machine."""
    url = args.url or prompt("Address of the server", "--url")
    app_id = args.app or parse_app_id(prompt("Application id", "--app"))
    auth_key = args.key or prompt("Auth key", "--key")
    if args.device is None:
        device, own_device = uuid.uuid4().hex, True
    else:
        device, own_device = args.device, False
    new = Account(url, app_id, auth_key, device, own_device)
    with new_client(url, app_id, auth_key) as client:
        if transport.is_unencrypted(client.url):
            print_error("http is not encrypted: others on the way can read the password and the contacts; use https", 0)
        new, proof = ask_for_proof(args, client, new)
        session = client.create_session(proof)
        new = replace(new, user_id=session.user_id, token=session.token)
        previous = previous_account()
        if previous and (previous.url, previous.app_id, previous.user_id) != (new.url, new.app_id, new.user_id):
            client.delete_session()
            raise account.OtherAccount(
                f"user {previous.user_id} of {previous.url} is logged in here: run {PROGRAM} logout first"
            )
    if previous and args.device is None:  # the same person goes on with the same book
        new = replace(new, device=previous.device, own_device=previous.own_device)
    if args.forget_password:
        new = replace(new, password=None)
    account.save(new)
    display.print_json({"user_id": session.user_id, "device": new.device, "new": is_new(session)})
    display.print_line(f"Logged in to {url} as user {session.user_id}{', who is new' if is_new(session) else ''}.")


def previous_account() -> Account | None:
    """Who was logged in so far."""
    try:
        return account.load()
    except account.NotLoggedIn:
        return None


def is_new(session: Session) -> bool:
    """The session has made its user, in the same moment: perhaps the login was mistyped."""
    return bool(session.user and session.created_at and session.user.created_at == session.created_at)


def ask_for_proof(args: argparse.Namespace, client: Client, new: Account) -> tuple[Account, Proof]:
    """The account with who somebody is, and the proof."""
    if args.phone:
        sent = client.send_code(args.phone)
        return new, Code(sent.request_id, prompt("The code in the message", "the code"))
    name = args.email or args.login or prompt("Login", "--login, --email or --phone")
    password = read_password(args.password_file)
    if args.email:
        return replace(new, email=name, password=password), Email(name, password)
    return replace(new, login=name, password=password), Login(name, password)


def sync(args: argparse.Namespace, display: Display) -> None:
    """Make the book on the server what a file of contacts holds."""
    reading = sources.read_contacts(args.file)
    contacts, problems = reading.contacts, reading.problems
    keep = args.keep or bool(problems and not args.remove)
    if problems and not (args.keep or args.remove):
        print_error("the file has parts that cannot be read, so nobody is removed (--remove does it all the same)", 0)
    with logged_in_client() as (client, current):
        device = current.device or None
        if args.dry_run:
            plan = client.plan_sync(contacts, account.state_path(), device=device, full=args.full, keep=keep)
            display.plan(plan, problems)
            return
        synced = client.sync_address_book(
            contacts,
            account.state_path(),
            device=device,
            full=args.full,
            keep=keep,
            allow_empty=args.allow_empty,
            progress=display.progress,
        )
    display.synced(synced, problems)


def list_contacts(args: argparse.Namespace, display: Display) -> None:
    """Show the book on the server."""
    with logged_in_client() as (client, current):
        contacts = client.get_address_book(device=current.device or None)
    display.contacts(contacts)
    if not contacts:
        display.print_line(f"The book is empty. Fill it: {PROGRAM} sync contacts.vcf")


def registered(args: argparse.Namespace, display: Display) -> None:
    """Show which contacts are registered."""
    with logged_in_client() as (client, current):
        friends = client.get_registered_users(device=current.device or None)
    display.registered(friends)
    if not friends:
        display.print_line(f"None of your contacts is registered yet. ({PROGRAM} list shows who they are.)")


def logout(args: argparse.Namespace, display: Display) -> None:
    """Log out: end the session, empty this device's own book, and forget everything on this machine."""
    if args.local:
        account.load()
        account.delete_files()
        display.print_json({})
        display.print_line("Forgotten here; on the server nothing has changed.")
        return
    with logged_in_client() as (client, current):
        try:
            if current.own_device and not args.keep_book:
                client.upload_address_book([], force=True, device=current.device)
            client.delete_session()
        except errors.Unauthorized:
            display.print_line("The session had ended already; the book of this device stays on the server.")
    account.delete_files()
    display.print_json({})
    display.print_line("Logged out.")


# ── what they need ───────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def logged_in_client() -> Iterator[tuple[Client, Account]]:
    """A client for whoever is logged in."""
    current = account.load()
    proof = current.proof()
    with new_client(
        current.url, current.app_id, current.auth_key, (lambda: proof) if proof else None, AccountTokens(current)
    ) as client:
        yield client, current


def new_client(
    url: str, app_id: int, auth_key: str, sign_in: SignIn | None = None, tokens: AccountTokens | None = None
) -> Client:
    """A client for a server whose address somebody has typed."""
    try:
        return Client(url, app_id, auth_key, sign_in=sign_in, tokens=tokens)
    except ValueError as error:
        raise WrongUse(str(error)) from None


def prompt(what: str, option: str) -> str:
    """Have something typed; the question goes to stderr, stdout is for answers."""
    print(f"{what}: ", end="", file=sys.stderr, flush=True)
    try:
        typed = input().strip()
    except EOFError:
        typed = ""
    if not typed:
        raise WrongUse(f"no answer: give {option}")
    return typed


def parse_app_id(typed: str) -> int:
    """The id of an application."""
    if not (typed.isascii() and typed.isdigit()):
        raise WrongUse("the id of an application is a number, such as 1")
    return int(typed)


def read_password(file: str | None) -> str:
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
