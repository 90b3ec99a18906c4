"""Passwords: what is accepted, how they are stored, and how they are compared.

    check               what may be a password
    hashed              a password as it is stored: argon2id, 19 MiB, two passes, one lane
    matches             is this the password? As slow for an account that does not exist
    one_time            a password for a person to type once

A hash takes about 20 ms of a core and 19 MiB, so at most one per core runs at a time, and never inside a transaction.
Source: RFC 9106 (argon2); the cost is the first choice of OWASP's Password Storage Cheat Sheet.
"""

import os
import secrets
import threading

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from .. import errors

MIN_CHARACTERS, MAX_BYTES = 8, 1024
MIN_ADMIN_CHARACTERS = 12
AT_ONCE = os.cpu_count() or 1
# Told apart by ear and by eye: neither 0 and O nor 1, l and I.
ONE_TIME_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"

_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)
_turn = threading.BoundedSemaphore(AT_ONCE)
# Of a random password that nobody knows, made with the costs above.
_nobody = _hasher.hash(secrets.token_hex(16))


def check(password: str, *, min_characters: int = MIN_CHARACTERS, field: str = "password") -> None:
    """Raise Invalid, about `field`, for what may not be a password. Blanks count: passwords are never trimmed."""
    if len(password) < min_characters:
        raise errors.Invalid(f"is too short (minimum is {min_characters} characters)", field=field)
    if len(password.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise errors.Invalid(f"is too long (maximum is {MAX_BYTES} bytes)", field=field)


def hashed(password: str) -> str:
    """The password as it is stored."""
    with _turn:
        return _hasher.hash(password)


def matches(stored: str | None, password: str) -> bool:
    """Is this the password whose hash is stored? None, an account without one, takes as long and is False."""
    if len(password.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return False
    with _turn:
        try:
            return _hasher.verify(stored or _nobody, password) and stored is not None
        except (VerificationError, InvalidHashError):
            return False


def one_time() -> str:
    """A password for a person to type once: four groups of four, 79 bits."""
    letters = [secrets.choice(ONE_TIME_LETTERS) for _ in range(16)]
    return "-".join("".join(letters[at : at + 4]) for at in range(0, 16, 4))
