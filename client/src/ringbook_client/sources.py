"""Reads files of contacts, in vCard or CSV format.

read_contacts(path)   the contacts of a file, and the problems found in it
"""

from __future__ import annotations

import re
from pathlib import Path

from . import tables, vcards
from .reading import Reading, file_content

BEGIN = re.compile(rb"(?im)^[ \t]*BEGIN[ \t]*:[ \t]*VCARD")


def read_contacts(path: str | Path) -> Reading:
    """Read a file: as vCard if it contains a card or is named .vcf or .vcard, else as CSV.

    Returns one contact for each name and number. A card without a name gets its organisation, nickname or number as
    name. Numbers are not checked: the server decides which ones it accepts.

    Raises Unreadable for a file that is missing, empty or not text, and for one without a card or a column of numbers.
    Such a file must not count as an empty address book.
    """
    path = Path(path)
    raw = file_content(path)
    is_vcard = BEGIN.search(raw) or path.suffix.lower() in (".vcf", ".vcard")
    return vcards.read_vcards(raw) if is_vcard else tables.read_csv(raw)
