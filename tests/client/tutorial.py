"""Plays docs/client/tutorial.md as it is written: programs, commands, and what they print."""

import io
import re
import sys
from pathlib import Path

import pytest
from ringbook_client import cli
from servers import Server

PAGE = Path(__file__).parent.parent.parent / "docs" / "client" / "tutorial.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def at_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client keep its files in this folder, and work there."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.chdir(folder)


def play(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, again: bool = False
) -> tuple[int, int]:
    """Run the page; how many commands ran, and how many outputs were as the page shows them.

    again   the page was played on this server before: then some outputs differ, and none is compared
    """
    values = {
        "http://127.0.0.1:8080": server.url,
        '"KEY"': f'"{server.app.auth_key}"',
        "--key KEY": f"--key {server.app.auth_key}",
        ", 1, ": f", {server.app.application_id}, ",
        "--app 1 ": f"--app {server.app.application_id} ",
    }
    shown = commands = 0
    for kind, block in BLOCK.findall(PAGE.read_text("utf-8")):
        text = block
        for on_page, actual in values.items():
            text = text.replace(on_page, actual)
        if kind == "vcf":
            Path("contacts.vcf").write_text(text)
        elif kind == "python":
            exec(compile(text, "tutorial.md", "exec"), {})
        elif kind == "sh":
            for line in re.findall(r"^ringbook-contacts (.*)$", text, re.MULTILINE):
                run(line.split(), monkeypatch)
                commands += 1
        elif not block.startswith("15 * "):  # the crontab line
            printed = capsys.readouterr().out
            assert again or normalised(printed) == normalised(text)
            shown += 1
    return commands, shown


def normalised(text: str) -> str:
    """The text with numbers and column widths normalised, since they differ between servers."""
    return re.sub(r" +", " ", re.sub(r"\d+", "N", text)).strip()


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command, with a password on standard input."""
    more = ["--password-file", "-"] if words[0] == "login" else []
    monkeypatch.setattr(sys, "stdin", io.StringIO("fay-12345\n"))
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, *more])
    assert ended.value.code == 0
