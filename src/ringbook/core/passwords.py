"""Passwords: what is accepted, how they are stored, and how they are compared.

    check               refuses a password that is too short or too long
    hashed              the stored form of a password: argon2id, 19 MiB, two passes, one lane
    matches             compares a password; takes as long for an account that does not exist
    one_time            a random password that a person types once

A hash takes about 20 ms of a core and 19 MiB. So at most one per core runs at a time, and none inside a transaction.
Source: RFC 9106 (argon2); the cost is the first choice of OWASP's Password Storage Cheat Sheet.
"""

import base64
import os
import secrets
import threading

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

from .. import errors

MIN_CHARACTERS, MAX_BYTES = 8, 1024
MIN_ADMIN_CHARACTERS = 12
AT_ONCE = os.cpu_count() or 1
# Without characters that are easily confused: 0 and O, 1, l and I.
ONE_TIME_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"

_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)
_turn = threading.BoundedSemaphore(AT_ONCE)


def _no_password() -> str:
    """A hash with the costs above that belongs to no password: compared when there is no stored one.

    Its salt and result are random. To hash something for it would take as long as ten modules take to load.
    """
    costs = f"m={_hasher.memory_cost},t={_hasher.time_cost},p={_hasher.parallelism}"
    sizes = (_hasher.salt_len, _hasher.hash_len)
    salt, result = (base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in sizes)
    return f"$argon2id$v={ARGON2_VERSION}${costs}${salt}${result}"


_dummy_hash = _no_password()


def check(password: str, *, min_characters: int = MIN_CHARACTERS, field: str = "password") -> None:
    """Raise Invalid with `field` for a password that is too short or too long. Passwords are never trimmed."""
    if len(password) < min_characters:
        raise errors.Invalid(f"is too short (minimum is {min_characters} characters)", field=field)
    if len(password.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise errors.Invalid(f"is too long (maximum is {MAX_BYTES} bytes)", field=field)


def hashed(password: str) -> str:
    """The hash that is stored for a password."""
    with _turn:
        return _hasher.hash(password)


def matches(stored: str | None, password: str) -> bool:
    """Whether this is the password with the stored hash. For None (no password) it takes as long and is False."""
    if len(password.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return False
    with _turn:
        try:
            return _hasher.verify(stored or _dummy_hash, password) and stored is not None
        except (VerificationError, InvalidHashError):
            return False


def one_time() -> str:
    """A random password that a person types once: four groups of four characters, 79 bits."""
    letters = [secrets.choice(ONE_TIME_LETTERS) for _ in range(16)]
    return "-".join("".join(letters[at : at + 4]) for at in range(0, 16, 4))
