"""Phone numbers as tables hold them: the keyed number, by which rows are found and joined, and its digits, sealed.

keyed, keyed_all           the keyed number; of several numbers
digits, all_digits         the sealed digits beside a keyed number; of several
opened                     the number in them
spelling, spelled          how the user's profile spells a number; the phone in the profile

The column `numbers.spelling` makes a second look into the profile, and opening the phone there, unnecessary where the
phone is nothing but the number. Whoever writes a phone sets it in the same transaction.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from .. import phone
from .db import Tx

Table = Literal["numbers", "joined", "announced", "removed", "codes", "pushes"]
OTHER, DIGITS, PLUS = 0, 1, 2  # the profile's phone: any other text, or none; the number's digits; + and the digits


def keyed(tx: Tx, app_id: int, number: int) -> int:
    """The keyed number: 63 bits that reveal the number to nobody without the key."""
    return tx.seal.number(app_id, number)


def keyed_all(tx: Tx, app_id: int, numbers: Iterable[int]) -> dict[int, int]:
    """By keyed number: these numbers."""
    wanted = list(numbers)
    return dict(zip(tx.seal.numbers(app_id, wanted), wanted, strict=True))


def digits(tx: Tx, table: Table, app_id: int, keyed: int, number: int) -> bytes:
    """The number, sealed for the column `digits` of a row with this keyed number: 24 bytes."""
    return tx.seal.digits(number, table, "digits", app_id, keyed)


def all_digits(tx: Tx, table: Table, app_id: int, numbers: Mapping[int, int]) -> list[tuple[int, bytes]]:
    """The same for several numbers by their keyed numbers: keyed number and digits of each."""
    return tx.seal.all_digits(numbers, table, "digits", app_id)


def opened(tx: Tx, table: Table, app_id: int, keyed: int, digits: bytes) -> int:
    """The number in a row with this keyed number; errors.Unreadable."""
    return tx.seal.open_digits(digits, table, "digits", app_id, keyed)


def spelling(number: int, typed: str | None) -> int:
    """What the column `spelling` of a number's row holds when the user's profile has this phone."""
    digits = phone.digits(number)
    return DIGITS if typed == digits else PLUS if typed == f"+{digits}" else OTHER


def spelled(number: int, spelling: int) -> str | None:
    """The phone in the user's profile; None when only the profile says it."""
    if spelling == OTHER:
        return None
    return phone.digits(number) if spelling == DIGITS else f"+{phone.digits(number)}"
