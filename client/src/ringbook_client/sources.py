"""Files of contacts, whichever program has written them.

read(path)   the contacts of a vCard or CSV file, and what of it could not be read
"""

from __future__ import annotations

import re
from pathlib import Path

from . import tables, vcards
from .reading import Reading, file_content

BEGIN = re.compile(rb"(?im)^[ \t]*BEGIN[ \t]*:[ \t]*VCARD")


def read_contacts(path: str | Path) -> Reading:
    """Read a file: as vCards if it holds one or its name says so, else as CSV.

    One contact for each name and number; a card without a name goes by its organisation, nickname or number. Numbers
    are handed on as they stand, also ones that the server will not take.

    Raises Unreadable for a file that is missing, empty, no text, or without a card or a column of numbers: a file that
    cannot be read is not an empty address book.
    """
    path = Path(path)
    raw = file_content(path)
    is_vcard = BEGIN.search(raw) or path.suffix.lower() in (".vcf", ".vcard")
    return vcards.read_vcards(raw) if is_vcard else tables.read_csv(raw)
