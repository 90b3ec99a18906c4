"""The table of push providers in the documentation, made from the rows of `push/providers.py`.

python scripts/provider_table.py FILE       writes the table between the markers of a page
"""

import sys
from pathlib import Path

from ringbook.push import providers

BEGIN, END = "<!-- providers: written by make docs -->", "<!-- end of providers -->"
HEAD = "| provider | channels | settings | `ringbook check` and *Check now* |\n| --- | --- | --- | --- |"


def written(page: str) -> str:
    """The page with the new table between its markers."""
    table = "\n".join([HEAD, *providers.table()])
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(written(file.read_text("utf-8")), "utf-8")
