"""The documents name each column that is not encrypted."""

import re
from pathlib import Path

from ringbook.store import placement

PRIVACY = Path(__file__).parents[1] / "docs" / "privacy.md"
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", re.MULTILINE)


def test_the_table_of_what_is_not_encrypted_is_complete() -> None:
    """When this fails, change the row of your table below "What a thief sees" in docs/privacy.md."""
    text = PRIVACY.read_text("utf-8")
    part = text[text.index("<!-- plain columns") : text.index("<!-- end of plain columns")]
    documented = {name: set(re.findall(r"`(\w+)`", columns)) for name, columns, _ in ROW.findall(part)}
    declared = {
        name: {column for column, storage in table.columns.items() if storage == "plain"}
        for name, table in placement.of(sqlite=True).items()
    }
    assert documented == {name: columns for name, columns in declared.items() if columns}
