"""The exceptions: their texts, and the diagram of their classes."""

import re

from ringbook_client import errors


def classes_of_diagram() -> dict[str, str]:
    """Each class of the diagram in the docstring, with its base class."""
    base_by_level: dict[int, str] = {}
    parents = {}
    for depth, name in re.findall(r"^ {4}([│ ├└─]*)([A-Z]\w+)", errors.__doc__, re.MULTILINE):
        level = len(depth) // 4
        base_by_level[level] = name
        parents[name] = base_by_level.get(level - 1, "Exception")
    return parents


def test_the_diagram_has_every_exception_and_its_base_class():
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception)]
    assert classes_of_diagram() == {one.__name__: one.__mro__[1].__name__ for one in classes}


def test_the_text_of_a_refusal_has_reasons_and_status():
    refused = errors.Invalid(422, {"login": ["has already been taken"], "base": ["No application found"]})
    assert str(refused) == "login has already been taken; No application found (422)"
    assert str(errors.NotFound(404, {})) == "no reason given (404)"


def test_the_text_has_the_wait():
    assert str(errors.TooMany(429, {"base": ["Too many"]}, 3600.0)) == "Too many (429); retry after 3,600 seconds"
    assert str(errors.ServerTrouble(502, {})) == "the server is not available: no reason given (502)"
    assert "after inf" in str(errors.TooMany(429, {}, float("inf")))
