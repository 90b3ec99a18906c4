"""The line on stderr by which every command says which database it uses.

database_of        the database in that line; "" without one
without_database   the rest of stderr
"""

import re

LINE = re.compile(r"^database: (.*)\n")


def database_of(stderr: str) -> str:
    found = LINE.match(stderr)
    return found[1] if found else ""


def without_database(stderr: str) -> str:
    return LINE.sub("", stderr, count=1)
