"""The commands of ringbook-contacts.

login, sync, list_contacts, registered, logout
WrongUse, print_error                            wrong command-line input; error messages
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
from .wire import printable


class WrongUse(Exception):
    """The command line lacks a value or has an invalid one."""


def print_error(error: object, code: int) -> int:
    """Print a message to stderr; returns the exit status `code`."""
    print(f"{PROGRAM}: {printable(str(error))}", file=sys.stderr)
    return code


# ── the commands ─────────────────────────────────────────────────────────────────────────────────────────────────────


def login(args: argparse.Namespace, display: Display) -> None:
    """Log in and save the account on this machine."""
    url = args.url or prompt("Address of the server", "--url")
    app_id = args.app or parse_app_id(prompt("Application id", "--app"))
    auth_key = args.key or prompt("Auth key", "--key")
    device = uuid.uuid4().hex if args.device is None else args.device
    new = Account(url, app_id, auth_key, device, own_device=args.device is None)
    with new_client(url, app_id, auth_key) as client:
        if transport.is_unencrypted(client.url):
            print_error("http is not encrypted: others can read the password and the contacts; use https", 0)
        new, proof = ask_for_proof(args, client, new)
        session = client.create_session(proof)
        new = replace(new, user_id=session.user_id, token=session.token)
        previous = previous_account()
        if previous and (previous.url, previous.app_id, previous.user_id) != (new.url, new.app_id, new.user_id):
            client.delete_session()
            raise account.OtherAccount(
                f"user {previous.user_id} of {previous.url} is already logged in: run {PROGRAM} logout first"
            )
    if previous and args.device is None:  # the same user continues with the same address book
        new = replace(new, device=previous.device, own_device=previous.own_device)
    if args.forget_password:
        new = replace(new, password=None)
    account.save(new)
    display.print_json({"user_id": session.user_id, "device": new.device, "new": is_new(session)})
    display.print_line(f"Logged in to {url} as {'new ' if is_new(session) else ''}user {session.user_id}.")


def previous_account() -> Account | None:
    """The account that was logged in before, if any."""
    try:
        return account.load()
    except account.NotLoggedIn:
        return None


def is_new(session: Session) -> bool:
    """Whether opening the session created its user. If that was not intended, the login was mistyped."""
    return bool(session.user and session.created_at and session.user.created_at == session.created_at)


def ask_for_proof(args: argparse.Namespace, client: Client, new: Account) -> tuple[Account, Proof]:
    """The account with its login or e-mail address and password, and the proof that opens a session."""
    if args.phone:
        sent = client.send_code(args.phone)
        return new, Code(sent.request_id, prompt("The code in the message", "the code"))
    name = args.email or args.login or prompt("Login", "--login, --email or --phone")
    password = read_password(args.password_file)
    if args.email:
        return replace(new, email=name, password=password), Email(name, password)
    return replace(new, login=name, password=password), Login(name, password)


def sync(args: argparse.Namespace, display: Display) -> None:
    """Make the address book on the server equal to a file of contacts."""
    reading = sources.read_contacts(args.file)
    contacts, problems = reading.contacts, reading.problems
    keep = args.keep or bool(problems and not args.remove)
    if problems and not (args.keep or args.remove):
        print_error("parts of the file cannot be read, so no contact is removed (--remove removes them anyway)", 0)
    with logged_in_client() as (client, current):
        device = current.device or None
        if args.dry_run:
            plan = client.plan_sync(contacts, account.state_path(), device=device, full=args.full, keep=keep)
            display.plan(plan, problems)
            return
        try:
            synced = client.sync_address_book(
                contacts,
                account.state_path(),
                device=device,
                full=args.full,
                keep=keep,
                allow_empty=args.allow_empty,
                progress=display.progress,
            )
        finally:
            display.end_progress()
    display.synced(synced, problems)


def list_contacts(args: argparse.Namespace, display: Display) -> None:
    """List the contacts of the address book on the server."""
    with logged_in_client() as (client, current):
        contacts = client.get_address_book(device=current.device or None)
    display.contacts(contacts)
    if not contacts:
        display.print_line(f"The address book is empty. To fill it: {PROGRAM} sync contacts.vcf")


def registered(args: argparse.Namespace, display: Display) -> None:
    """List the contacts who are registered users."""
    with logged_in_client() as (client, current):
        friends = client.get_registered_users(device=current.device or None)
    display.registered(friends)
    if not friends:
        display.print_line(f"None of your contacts is registered yet. ({PROGRAM} list shows all contacts.)")


def logout(args: argparse.Namespace, display: Display) -> None:
    """Log out: end the session, empty this machine's own address book, and delete the saved account and state."""
    if args.local:
        account.load()
        account.delete_files()
        display.print_json({})
        display.print_line("Deleted the account on this machine. Nothing has changed on the server.")
        return
    with logged_in_client() as (client, current):
        try:
            if current.own_device and not args.keep_book:
                client.upload_address_book([], force=True, device=current.device)
            client.delete_session()
        except errors.Unauthorized:
            display.print_line("The session had already ended. This machine's address book stays on the server.")
    account.delete_files()
    display.print_json({})
    display.print_line("Logged out.")


# ── clients and input ────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def logged_in_client() -> Iterator[tuple[Client, Account]]:
    """A client for the account that is logged in, and the account."""
    current = account.load()
    proof = current.proof()
    sign_in = (lambda: proof) if proof else None
    with new_client(current.url, current.app_id, current.auth_key, sign_in, AccountTokens(current)) as client:
        yield client, current


def new_client(
    url: str, app_id: int, auth_key: str, sign_in: SignIn | None = None, tokens: AccountTokens | None = None
) -> Client:
    """A client. Raises WrongUse if the address or the auth key is invalid."""
    try:
        return Client(url, app_id, auth_key, sign_in=sign_in, tokens=tokens)
    except ValueError as error:
        raise WrongUse(str(error)) from None


def prompt(what: str, option: str) -> str:
    """Ask the user for a value. The prompt goes to stderr, because stdout is for results."""
    print(f"{what}: ", end="", file=sys.stderr, flush=True)
    try:
        typed = input().strip()
    except EOFError:
        typed = ""
    if not typed:
        raise WrongUse(f"no value was entered: give {option}")
    return typed


def parse_app_id(typed: str) -> int:
    """The id of an application."""
    if not (typed.isascii() and typed.isdigit()):
        raise WrongUse("the id of an application is a number, such as 1")
    return int(typed)


def read_password(file: str | None) -> str:
    """The first line of a file or, for "-", of standard input; without a file, ask on the terminal without an echo."""
    if file is None:
        if not sys.stdin.isatty():
            raise WrongUse("no terminal to type the password on: give --password-file FILE, or - for standard input")
        return getpass.getpass("Password: ")
    try:
        text = sys.stdin.readline() if file == "-" else Path(file).read_text("utf-8")
    except UnicodeDecodeError:
        raise WrongUse("the password is not in UTF-8") from None
    return text.partition("\n")[0].rstrip("\r")
