"""Counts the values of a JSON text without decoding it.

    has_more_values(text, most)      are there more objects, lists and values than `most`, on all levels?
    has_more_elements(array, most)   has the outermost list more elements than `most`?

A text of 8 MiB can decode into millions of objects, which need fifty times its size. It is refused before that.
Counting separators is cheap, but includes those inside strings, so it only decides when the count is small. Otherwise
regular expressions that skip strings count. They never backtrack (possessive quantifiers), so invalid JSON takes no
longer, and counting stops as soon as there are too many.
"""

import re

Text = bytes | memoryview
DEEPEST = 1024  # deeper than any decoder allows
MOST_STEPS = 20  # for each allowed element: far more than real texts need; a step takes a microsecond

STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)'  # an unclosed string reaches to the end
FLAT = rb'[\[{](?:[^\[\]{}"]++|' + STRING + rb")*+[\]}]"  # an object or a list without inner ones
PIECES = re.compile(STRING + rb'|[^"]++', re.DOTALL)
# Up to the next structural character: commas and brackets on the first level, only brackets below it.
FIRST_LEVEL = re.compile(rb'(?:[^\[\]{}",]++|' + STRING + rb"|" + FLAT + rb")*+([\[\]{},])", re.DOTALL)
DEEPER = re.compile(rb'(?:[^\[\]{}"]++|' + STRING + rb"|" + FLAT + rb")*+([\[\]{}])", re.DOTALL)


def has_more_values(text: bytes, most: int) -> bool:
    """Are there more values than `most`?

    Each value but the outermost follows a comma, or is the first one of an object or a list.
    """
    if len(text) <= most or _separators(text) <= most:
        return False
    count = 0
    for piece in PIECES.finditer(text):
        if text[piece.start()] != ord('"'):
            count += _separators(piece[0])
        if count > most:
            return True
    return False


def has_more_elements(array: Text, most: int) -> bool:
    """Has the list more elements than `most`? Each element but the last is followed by a comma on the first level.

    Also true for a text with far more nested lists and objects than `most`.
    """
    place, depth, commas = bytes(array[:64]).find(b"[") + 1, 1, 0
    for _ in range(MOST_STEPS * most):
        found = (FIRST_LEVEL if depth == 1 else DEEPER).match(array, place)
        if not found:
            return False
        place = found.end()
        sign = found[1]
        commas += sign == b","
        depth += (sign in b"[{") - (sign in b"]}")
        if commas >= most:
            return True
        if not 0 < depth < DEEPEST:
            return False
    return True


def _separators(text: bytes) -> int:
    return text.count(b",") + text.count(b"{") + text.count(b"[")
