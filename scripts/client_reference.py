"""Generates docs/client/reference.md from the docstrings of ringbook_client.

    python scripts/client_reference.py            print the page
    python scripts/client_reference.py FILE       write the page to a file, if it has changed

`make docs` writes the file; a test checks that it is up to date. Lines of the form `name   meaning` in a docstring
become a list.
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

This page is generated from the docstrings by `make docs`. `AsyncClient` has the methods of `Client` as coroutines.
Import these names from `ringbook_client`: {names}. The exceptions are in `ringbook_client.errors`.
"""
VALUES: tuple[tuple[str, ModuleType, tuple[str, ...]], ...] = (
    ("Proofs", proofs, ("Login", "Email", "FirebasePhone", "FirebaseEmail", "Code", "Guest")),
    ("Uploads and their results", model, ("Contact", "Removal", "Report", "Rejected", "Registered", "NewlyRegistered")),
    ("Who joined", model, ("Joined", "JoinedPage", "JoinedSettings")),
    ("Results of a sync", sync, ("Synced", "Plan")),
    ("", changes, ("Difference",)),
    ("Users and sessions", model, ("User", "UserPage", "Session", "CodeSent", "Subscription")),
    ("", profile, ("Profile", "JoinedChanges")),
    ("Tokens", tokens, ("TokenStore", "FileTokens")),
)


def page() -> str:
    """The Markdown of the page."""
    names = ", ".join(f"`{name}`" for name in ringbook_client.__all__ if not name.startswith("__"))
    parts = [HEAD.format(names=names), "## Client", section(ringbook_client.Client), *methods(ringbook_client.Client)]
    for title, module, wanted in VALUES:
        parts += [f"## {title}"] if title else []
        for name in wanted:
            value = getattr(module, name)
            parts += [f"### {name}", section(value), *(methods(value) if module is tokens else ())]
    parts += ["## Errors", prose(errors)]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def methods(owner: type) -> Iterator[str]:
    """Heading, signature and docstring of each public method."""
    for name, method in vars(owner).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            yield f"### {owner.__name__}.{name}"
            yield section(method)


def section(item: Any) -> str:
    """The signature and the docstring of a class or method; of a protocol only the docstring."""
    if getattr(item, "_is_protocol", False):
        return prose(item)
    return f"```python\n{signature(item)}\n```\n\n{prose(item)}"


def signature(item: Any) -> str:
    """The signature or the fields of a TypedDict, on one line if it fits, else on a line each."""
    name = item.__name__
    if dataclasses.is_dataclass(item):
        entries = [f"{field.name}: {field.type}{default(field)}" for field in dataclasses.fields(item)]
        answer = ""
    elif issubclass(type(item), type) and hasattr(item, "__total__"):
        entries, answer = (
            [f"{field}: {kind.__forward_arg__}" for field, kind in item.__annotations__.items()],
            "",
        )
    else:
        shown = inspect.signature(item)
        entries = list(parameters(shown))
        answer = "" if isinstance(item, type) else f" -> {shown.return_annotation}"
    line = f"{name}({', '.join(entries)}){answer}"
    if len(line) <= 100:
        return line
    return f"{name}(\n" + "".join(f"    {parameter},\n" for parameter in entries) + f"){answer}"


def parameters(shown: inspect.Signature) -> Iterator[str]:
    """Each parameter as in the source, without self."""
    star_written = False
    for parameter in shown.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not star_written:
            star_written = True
            yield "*"
        star = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        value = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        yield f"{star}{parameter.name}: {parameter.annotation}{value}"


def default(field: Any) -> str:
    """The default value of a dataclass field, as ` = value`; "" if it has none."""
    return "" if field.default is dataclasses.MISSING else f" = {field.default!r}"


def prose(item: Any) -> str:
    """A docstring as Markdown: indented text becomes code, and `name   meaning` becomes a list item."""
    parts = []
    for part in (inspect.getdoc(item) or "").split("\n\n"):
        if part.startswith("    "):
            parts.append(f"```\n{inspect.cleandoc(part)}\n```")
        elif re.match(r"\S.*? {2,}\S", part):
            joined = re.sub(r"\n {2,}", " ", part)
            parts.append(re.sub(r"(?m)^(\S.*?) {2,}", r"* **\1**: ", joined))
        else:
            parts.append(part)
    return "\n\n".join(parts)


def main() -> None:
    """Print the page or write it to the file that the command line names."""
    if len(sys.argv) == 1:
        print(page(), end="")
        return
    file = Path(sys.argv[1])
    if not file.exists() or file.read_text("utf-8") != page():
        file.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
