"""The documents match the code: every route, setting, limit, metric and command; and no link is dead.

The tables are compared row by row with the declarations in the code. A failure shows the missing row.
"""

import ast
import io
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cyclopts
import msgspec
import pytest
from prometheus_client.metrics import MetricWrapperBase
from rich.console import Console

from ringbook import config, metrics
from ringbook.api import elsewhere, openapi
from ringbook.api.routes import ROUTES
from ringbook.app_settings import SETTINGS
from ringbook.cli import __main__
from ringbook.profile_fields import FIELDS

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "demo").glob("*.md"), *(ROOT / "client").glob("*.md")]
)
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def words(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def rows(name: str, first: str) -> set[str]:
    """The rows of a page's tables whose first cell matches the pattern `first`."""
    return {line for line in words(name).splitlines() if re.match(rf"\| {first} \|", line)}


def shown(value: object) -> str:
    """A default as the tables show it."""
    if value == "" or value == ():
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_route_is_in_the_table_of_the_api():
    expected = set()
    for route in ROUTES:
        path = openapi.plain_path(route.path)
        summary = openapi.document()["paths"][path][route.method.lower()]["summary"]
        expected.add(f"| `{route.method}` | `{path}` | {route.who.value} | {summary} |")
    assert rows("docs/api.md", "`(GET|POST|PUT|PATCH|DELETE)`") == expected


def test_every_call_of_the_vendors_that_ringbook_lacks_is_in_the_table_of_the_api():
    assert rows("docs/api.md", "`/[^`]*`") == set(elsewhere.table())


def test_no_route_of_the_api_is_among_the_calls_that_ringbook_lacks():
    lacking = {(method, one.path) for one in elsewhere.CALLS for method in one.methods.split(", ")}
    assert not lacking & {(route.method, openapi.plain_path(route.path)) for route in ROUTES}
    assert not [route.path for route in ROUTES if elsewhere.missing(route.path)]


def test_every_setting_and_limit_of_the_process_is_in_the_tables():
    expected = set()
    for setting in config.settings():
        accepts, unit = setting.accepts.replace("|", "\\|"), setting.unit or "–"
        expected.add(f"| `{setting.variable}` | {accepts} | {shown(setting.default)} | {unit} | {setting.meaning} |")
    assert rows("docs/configuration.md", "`RINGBOOK_[A-Z_]+`") == expected


def test_every_setting_of_an_application_is_in_the_table():
    expected = {
        f"| `{key}` | {declared.accepts} | {shown(declared.default)} | {declared.help} |"
        for key, declared in SETTINGS.items()
    }
    assert rows("docs/configuration.md", "`[a-z][a-z0-9_]+`") == expected


def test_every_field_of_a_profile_is_in_the_table():
    expected = {
        f"| `{one.requested_as}` | {one.documented_type} | {one.requested_help or '–'} |" for one in FIELDS.values()
    }
    table = words("docs/api.md").partition("| field | type | rule |\n")[2].partition("| `password` |")[0]
    assert set(table.splitlines()[1:]) == expected


def test_every_metric_is_in_the_table_with_its_labels():
    expected = set()
    for one in vars(metrics).values():
        if isinstance(one, MetricWrapperBase):
            family = one.describe()[0]
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in one._labelnames) or "–"
            expected.add(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    assert rows("docs/operations.md", "`ringbook_[a-z_]+`") == expected


def commands(app: cyclopts.App, name: str = "ringbook") -> Iterator[tuple[str, cyclopts.App]]:
    """Every command, with its full name."""
    below = [one for one in app if not one.startswith("-")]
    if not below:
        yield name, app
    for one in below:
        yield from commands(app[one], f"{name} {one}")


COMMANDS = dict(commands(__main__.cli))


def test_every_command_is_in_the_table():
    expected = {f"| `{name}` | {command.help.splitlines()[0]} |" for name, command in COMMANDS.items()}
    assert rows("docs/operations.md", "`ringbook [a-z -]+`") == expected


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_of_a_command_has_a_description_and_no_help_names_a_file_that_a_wheel_lacks(name):
    command = COMMANDS[name]
    for argument in command.assemble_argument_collection():
        assert argument.parameter.help or not argument.parse, (name, argument.name)
    assert command.help
    shown = io.StringIO()
    __main__.cli.help_print(name.split()[1:], console=Console(file=shown, width=200))
    assert "docs/" not in shown.getvalue() and ".md" not in shown.getvalue()


def test_no_message_names_a_file_that_a_wheel_lacks():
    """A wheel contains the guide, which a server shows at /guide, and not the files of docs/."""
    for file in (ROOT / "src").rglob("*.py"):
        for text in _texts(ast.parse(file.read_text("utf-8"))):
            assert not re.search(r"\bdocs/[a-z-]+(/[a-z-]+)*\.md", text), (file, text)


def _texts(module: ast.Module) -> Iterator[str]:
    """The texts of a module, without its docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def test_the_tables_are_not_empty():
    assert len(ROUTES) > 20 and len(config.settings()) > 20 and len(COMMANDS) > 10


# ── what is named exists ─────────────────────────────────────────────────────────────────────────────────────────────


@pages
def test_every_variable_that_is_named_is_a_setting(page):
    known = {setting.variable for setting in config.settings()}
    known |= {f"{setting.variable}_FILE" for setting in config.settings() if setting.secret}
    named = set(re.findall(r"RINGBOOK_[A-Z_]*[A-Z]", page.read_text("utf-8")))
    assert named - {"RINGBOOK_X", "RINGBOOK_X_FILE"} <= known


def test_the_table_of_the_log_holds_every_event_that_is_logged_and_no_other():
    table = words("docs/operations.md").partition("| event | says |\n")[2].partition("\n\n")[0]
    events = set(re.findall(r"`([^`]+)`", " ".join(re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE))))
    source = "\n".join(file.read_text("utf-8") for file in (ROOT / "src").rglob("*.py"))
    logged = set(re.findall(r'\blog\.(?:info|warning|error|exception)\(\s*"([^"]+)"', source))
    logged = {event for event in logged if not event.startswith("first start: ")}  # they explain themselves
    assert len(logged) > 20 and events == logged


def test_decisions_are_numbered_without_gaps_and_say_their_number():
    files = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert [file.name[:5] for file in files] == [f"{number:04}-" for number in range(1, len(files) + 1)]
    titles = [file.read_text("utf-8").split()[1] for file in files]
    assert titles == [f"{number}." for number in range(1, len(files) + 1)]


def test_the_index_of_decisions_has_each_with_its_title():
    files = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    headings = [re.match(r"# (\d+)\. (.+)", file.read_text("utf-8")) for file in files]
    expected = {
        f"| {found[1]} | [{found[2]}]({file.name}) |" for file, found in zip(files, headings, strict=True) if found
    }
    assert len(expected) == len(files) and rows("docs/decisions/README.md", r"\d+") == expected


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


LINK = re.compile(r'\]\(([^)\s]+)[^)]*\)|(?:src|srcset|href)="([^"]+)"|^\[[^]]+\]: (\S+)', re.MULTILINE)


@pages
def test_every_relative_link_leads_somewhere(page):
    dead = []
    for found in LINK.findall(outside_code(page)):
        target = "".join(found)
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        if not place.exists() or (anchor and anchor not in anchors(place)):
            dead.append(target)
    assert dead == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page."""
    headings, seen = set(), Counter[str]()
    for found in re.findall(r"^#+ (.+)$", outside_code(page), re.MULTILINE):
        name = slug(found)
        headings.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return headings


def outside_code(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)


def fenced(page: Path) -> list[str]:
    """The lines of a page's code blocks."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


TARGETS = set(re.findall(r"^([a-z]+):", words("Makefile"), re.MULTILINE))


@pages
def test_every_make_target_in_a_code_block_exists(page):
    named = {found[1] for line in fenced(page) if (found := re.match(r"\s*make ([a-z]+)", line))}
    assert named <= TARGETS


@pages
def test_every_command_in_a_code_block_exists(page):
    unknown = []
    for line in fenced(page):
        found = re.search(r"(?:^|[\s/=])ringbook ((?:[a-z][a-z-]*(?= |$) ?)+)", line)
        if found and not any(known_as(found[1], name) for name in COMMANDS):
            unknown.append(line)
    assert unknown == []


def known_as(given: str, name: str) -> bool:
    """Is this the command `ringbook app set`, perhaps with arguments after it?"""
    return f"ringbook {given} ".startswith(name + " ")


@pages
def test_every_option_in_a_code_block_exists(page):
    known = {"--help", "--version", "--config", *(option for one in COMMANDS.values() for option in options(one))}
    named = {
        option for line in fenced(page) if "ringbook " in line for option in re.findall(r" (--[a-z][a-z-]*)", line)
    }
    assert named <= known


def options(command: cyclopts.App) -> set[str]:
    """The options of a command that begin with two hyphens."""
    arguments = command.assemble_argument_collection()
    return {name for argument in arguments for name in argument.names if name.startswith("--")}


def named_sections(text: str) -> set[str]:
    """`protocol §1.3, §11.4` names 1.3 and 11.4; of `§4.1.9` the first two levels count."""
    chains = re.findall(r"(?:(?:protocol|wire)(?:\.md)?,? |\"about\": \")(§\d[\d.]*(?:[^§\n]{1,20}§\d[\d.]*)*)", text)
    return {found for chain in chains for found in re.findall(r"§(\d+(?:\.\d+)?)", chain)}


def test_every_section_of_the_wire_protocol_that_the_code_names_is_there():
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "tests" / "wire").glob("*.json")]
    files += [file for file in (ROOT / "tests").rglob("*.py") if "node_modules" not in file.parts]
    named = {section for file in files for section in named_sections(file.read_text("utf-8"))}
    assert len(named) > 20
    there = set(re.findall(r"^(?:#+|\|) ([\d.]*\d) ", words("docs/wire.md"), re.MULTILINE))
    assert named <= there


def test_the_description_in_docs_is_the_one_of_this_code():
    """If it fails, run `make docs`."""
    written = msgspec.json.decode((ROOT / "docs/openapi.json").read_bytes())
    assert written == msgspec.json.decode(msgspec.json.encode(openapi.document()))


@pytest.mark.parametrize("room", ["server", "exchange", "worker", "outbound"])
def test_a_room_that_lists_its_files_lists_all_of_them(room):
    folder = ROOT / "src" / "ringbook" / room
    listed = re.findall(r"^(\w+)\.py ", (folder / "__init__.py").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(file.stem for file in folder.glob("*.py") if file.stem != "__init__")
