"""The words by which admins find users: of the full name, of the login and of the external id. Pure.

    of_user(full_name, login, external_id)    the words that are stored for a user
    of_query(text)                            the words that an admin typed

Words are stored in clear, as these fields are. So nothing that reads like a phone number or an e-mail address becomes a
word: a login that reads like one is sealed, and a name may contain one.
"""

import re
import unicodedata
from collections.abc import Iterator

from . import privacy

MOST_WORDS, MOST_CHARACTERS = 16, 40
READ_CHARACTERS = 400
WORD = re.compile(r"[^\W_]+")
# Digits with the signs between them with which people write phone numbers; and whatever is beside an @.
NUMBER = re.compile(r"\d(?:[\s().,/+-]{0,3}\d){6,}")
ADDRESS = re.compile(r"(?<!\S)\S*@\S*")  # from the start of a word only, or it takes quadratic time


def of_user(full_name: str | None, login: str | None, external_id: str | None) -> list[str]:
    """The words of a user, each once. More than `MOST_WORDS` are not stored, and longer ones are cut."""
    found = [*_clear(NUMBER.sub(" ", _plain(full_name))), *_clear(_plain(login)), *_clear(_plain(external_id))]
    return sorted(dict.fromkeys(found))[:MOST_WORDS]


def of_query(text: str) -> list[str]:
    """The words of a query, the longest first: it is the rarest one. What reads like a phone or e-mail has none."""
    if privacy.is_private(text):
        return []
    words = dict.fromkeys(word[:MOST_CHARACTERS] for word in WORD.findall(_plain(text)))
    return sorted(words, key=len, reverse=True)[:MOST_WORDS]


def _clear(text: str) -> Iterator[str]:
    """The words of a text without those that may be a phone number, and without e-mail addresses."""
    if privacy.is_private(ADDRESS.sub(" ", text)):
        return
    for word in WORD.findall(ADDRESS.sub(" ", text)):
        if not privacy.is_private(word):
            yield word[:MOST_CHARACTERS]


def _plain(text: str | None) -> str:
    """A text without case and without marks such as accents, in which words are compared."""
    split = unicodedata.normalize("NFKD", (text or "")[:READ_CHARACTERS].casefold())
    return "".join(sign for sign in split if not unicodedata.combining(sign))
