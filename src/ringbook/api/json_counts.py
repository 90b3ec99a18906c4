"""How many values a JSON text holds, counted without decoding it.

    has_more_values(text, most)      more than so many objects, lists and values in them, over all levels?
    has_more_elements(array, most)   more than so many elements in the outermost list?

A text of 8 MiB can decode into millions of objects, which take fifty times its size. So it is refused before that.
Counting bytes is cheap but also counts those inside strings, so it only decides when even that count is small. Then the
text is read by expressions that skip strings. They never go back (possessive quantifiers), so a text that is no JSON
takes no longer, and reading stops as soon as there are too many.
"""

import re

Text = bytes | memoryview
DEEPEST = 1024  # no decoder goes that deep
MOST_STEPS = 20  # for each allowed element; no real text comes near, and each step costs a microsecond

STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)'  # one that is never closed goes to the end
FLAT = rb'[\[{](?:[^\[\]{}"]++|' + STRING + rb")*+[\]}]"  # an object or a list that holds no other
PIECES = re.compile(STRING + rb'|[^"]++', re.DOTALL)
# Up to the next sign that matters: on the first level commas do, below it only what opens and closes.
FIRST_LEVEL = re.compile(rb'(?:[^\[\]{}",]++|' + STRING + rb"|" + FLAT + rb")*+([\[\]{},])", re.DOTALL)
DEEPER = re.compile(rb'(?:[^\[\]{}"]++|' + STRING + rb"|" + FLAT + rb")*+([\[\]{}])", re.DOTALL)


def has_more_values(text: bytes, most: int) -> bool:
    """Each value but the outermost follows a comma or is the first one of an object or a list."""
    if len(text) <= most or _signs(text) <= most:
        return False
    count = 0
    for piece in PIECES.finditer(text):
        if text[piece.start()] != ord('"'):
            count += _signs(piece[0])
        if count > most:
            return True
    return False


def has_more_elements(array: Text, most: int) -> bool:
    """Each element but the last is followed by a comma on the first level.

    Also true of a text that opens and closes lists and objects in lists and objects many times as often.
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


def _signs(text: bytes) -> int:
    return text.count(b",") + text.count(b"{") + text.count(b"[")
