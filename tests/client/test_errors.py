"""The tree of what can go wrong is drawn as it is."""

import re

from ringbook_client import errors


def drawn() -> dict[str, str]:
    """Each class of the picture, with the one above it."""
    above: dict[int, str] = {}
    parents = {}
    for depth, name in re.findall(r"^ {4}([│ ├└─]*)([A-Z]\w+)", errors.__doc__, re.MULTILINE):
        level = len(depth) // 4
        above[level] = name
        parents[name] = above.get(level - 1, "Exception")
    return parents


def test_the_tree_of_exceptions_is_drawn_as_it_is():
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception)]
    assert drawn() == {one.__name__: one.__mro__[1].__name__ for one in classes}


def test_a_refusal_says_why_and_with_which_status():
    refused = errors.Invalid(422, {"login": ["has already been taken"], "base": ["No application found"]})
    assert str(refused) == "login has already been taken; No application found (422)"
    assert str(errors.NotFound(404, {})) == "no reason given (404)"


def test_a_wait_is_told():
    assert str(errors.TooMany(429, {"base": ["Too many"]}, 3600.0)) == "Too many (429); it asks to wait 3,600 seconds"
    assert str(errors.ServerTrouble(502, {})) == "the server cannot just now: no reason given (502)"
    assert "wait inf" in str(errors.TooMany(429, {}, float("inf")))
