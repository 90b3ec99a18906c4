"""Write docs/client/reference.md from the docstrings of ringbook_client.

    python scripts/client_reference.py            print it
    python scripts/client_reference.py FILE       write it, if it is another one

`make docs` does the second; a test compares. In docstrings, lines of `name   meaning` become a list.
"""

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import ringbook_client
from ringbook_client import changes, errors, model, profile, proofs, sync, tokens

HEAD = """# Reference of ringbook_client

Made from the docstrings by `make docs`. `AsyncClient` has the methods of `Client`, to be awaited. What may be imported
from `ringbook_client` itself: {names}.
"""
VALUES: tuple[tuple[str, ModuleType, tuple[str, ...]], ...] = (
    ("Proofs", proofs, ("Login", "Email", "FirebasePhone", "FirebaseEmail", "Code", "Guest")),
    ("What is uploaded, and what comes of it", model, ("Contact", "Removal", "Report", "Rejected", "Registered")),
    ("What a sync does", sync, ("Synced", "Plan")),
    ("", changes, ("Difference",)),
    ("Users and sessions", model, ("User", "UserPage", "Session", "CodeSent", "Subscription")),
    ("", profile, ("Profile",)),
    ("Tokens", tokens, ("TokenStore", "FileTokens")),
)


def page() -> str:
    """The whole page."""
    names = ", ".join(f"`{name}`" for name in ringbook_client.__all__ if not name.startswith("__"))
    parts = [HEAD.format(names=names), "## Client", called(ringbook_client.Client), *methods(ringbook_client.Client)]
    for title, module, wanted in VALUES:
        parts += [f"## {title}"] if title else []
        for name in wanted:
            one = getattr(module, name)
            parts += [f"### {name}", called(one), *(methods(one) if module is tokens else ())]
    parts += ["## Errors", prose(errors)]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def methods(owner: type) -> Iterator[str]:
    """Each public method: heading, signature, docstring."""
    for name, method in vars(owner).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            yield f"### {owner.__name__}.{name}"
            yield called(method)


def called(one: Any) -> str:
    """How it is called, and what it says of itself."""
    if getattr(one, "_is_protocol", False):
        return prose(one)
    return f"```python\n{signature(one)}\n```\n\n{prose(one)}"


def signature(one: Any) -> str:
    """On one line where it fits, else a line for each parameter. Fields of a TypedDict are listed the same way."""
    name = one.__name__
    if dataclasses.is_dataclass(one):
        given = [f"{field.name}: {field.type}{default(field)}" for field in dataclasses.fields(one)]
        answer = ""
    elif issubclass(type(one), type) and hasattr(one, "__total__"):
        given, answer = [f"{field}: {kind.__forward_arg__}" for field, kind in one.__annotations__.items()], ""
    else:
        shown = inspect.signature(one)
        given = list(parameters(shown))
        answer = "" if isinstance(one, type) else f" -> {shown.return_annotation}"
    line = f"{name}({', '.join(given)}){answer}"
    if len(line) <= 100:
        return line
    return f"{name}(\n" + "".join(f"    {one},\n" for one in given) + f"){answer}"


def parameters(shown: inspect.Signature) -> Iterator[str]:
    """Each parameter as it stands in the source, without self."""
    starred = False
    for one in shown.parameters.values():
        if one.name == "self":
            continue
        if one.kind is one.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        star = "**" if one.kind is one.VAR_KEYWORD else ""
        value = "" if one.default is one.empty else f" = {one.default!r}"
        yield f"{star}{one.name}: {one.annotation}{value}"


def default(field: Any) -> str:
    """What a field is when it is left out."""
    return "" if field.default is dataclasses.MISSING else f" = {field.default!r}"


def prose(one: Any) -> str:
    """A docstring as Markdown: what is indented is code, `name   meaning` an item of a list."""
    parts = []
    for part in (inspect.getdoc(one) or "").split("\n\n"):
        if part.startswith("    "):
            parts.append(f"```\n{inspect.cleandoc(part)}\n```")
        elif re.match(r"\S.*? {2,}\S", part):
            joined = re.sub(r"\n {2,}", " ", part)
            parts.append(re.sub(r"(?m)^(\S.*?) {2,}", r"* **\1**: ", joined))
        else:
            parts.append(part)
    return "\n\n".join(parts)


def main() -> None:
    """Print the page, or write it."""
    if len(sys.argv) == 1:
        print(page(), end="")
        return
    file = Path(sys.argv[1])
    if not file.exists() or file.read_text("utf-8") != page():
        file.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
