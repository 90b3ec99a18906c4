"""`ringbook users …` as an operator or a script runs it, and what `app show` does not show."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from noted import without_database
from servers import SEAL, Databases, application, environment, key_file, program

from ringbook.cli import __main__
from ringbook.core import applications, imports
from ringbook.core import users as core_users
from ringbook.core.profile import columns
from ringbook.store import db as store

TABLE = "id,login,phone,verified,full_name\n1005,ann,+12025550101,true,Ann Example\n1006,bob,+447700900123,,Bob\n"
WRONG = TABLE + "1007,ann,,,Another Ann\nx,dave,,,Dave\n"


@dataclass(frozen=True)
class Ended:
    """The exit code and the output of a command."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Ended]


@pytest.fixture
def ringbook(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a command on a database, in this process."""

    def run(*words: str, database_url: str) -> Ended:
        for name in [name for name in os.environ if name.startswith("RINGBOOK_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("RINGBOOK_DATABASE", database_url)
        monkeypatch.setenv("RINGBOOK_KEY_FILE", str(key_file()))
        monkeypatch.setattr(sys, "argv", ["ringbook", *words])
        with pytest.raises(SystemExit) as end:
            __main__.main()
        written = capsys.readouterr()
        return Ended(end.value.code, written.out, without_database(written.err))

    yield run
    structlog.reset_defaults()  # a command says for the whole process what is logged


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, databases: Databases):
    with databases.fresh(request.param) as found:
        application(found)
        yield found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users.csv"
    path.write_text(TABLE)
    return path


def brought(ringbook: Run, url: str, file: Path, *options: str) -> tuple[int, dict[str, object], str]:
    done = ringbook("users", "import", str(file), "--app", "1", "--json", *options, database_url=url)
    return done.returncode, json.loads(done.stdout), done.stderr


def answer(added: int = 0, unchanged: int = 0, *, dry_run: bool = False) -> dict[str, object]:
    counts = {"added": added, "changed": 0, "unchanged": unchanged, "without_number": 0}
    return {"dry_run": dry_run, **counts, "refused": []}


def test_a_dry_run_writes_nothing_and_the_same_file_twice_changes_nothing(ringbook, url, file):
    assert brought(ringbook, url, file, "--dry-run") == (0, answer(2, dry_run=True), "")
    assert brought(ringbook, url, file) == (0, answer(2), "")
    assert brought(ringbook, url, file) == (0, answer(0, 2), "")
    exported = json.loads(ringbook("users", "export", "1005", database_url=url).stdout)
    assert exported["user"]["full_name"] == "Ann Example"
    assert exported["numbers"][0]["verified_at"]


def test_refused_lines_are_named_and_the_others_go_in(ringbook, url, file):
    file.write_text(WRONG)
    code, said, stderr = brought(ringbook, url, file)
    assert (code, said["added"]) == (1, 2)
    refused = [
        {"line": 4, "reason": "login: is taken by user 1005"},
        {"line": 5, "reason": "id: must be a whole number of at most 64 bits"},
    ]
    assert said["refused"] == refused
    assert stderr.splitlines() == [f"line {one['line']}: {one['reason']}" for one in refused]
    words = ringbook("users", "import", str(file), "--app", "1", database_url=url)
    assert words.returncode == 1
    assert "unchanged       2" in words.stdout and "refused         2" in words.stdout


def test_lines_that_a_stray_quote_has_swallowed_are_named_and_counted(ringbook, url, file):
    file.write_text('id,login\n7001,"swallower\n7002,gone\n7003,gone-too\n')
    code, said, stderr = brought(ringbook, url, file)
    assert (code, said["added"]) == (1, 0)
    assert [(one["line"], one["last_line"]) for one in said["refused"]] == [(2, 4)]
    assert stderr.startswith("lines 2–4: were read as one")
    words = ringbook("users", "import", str(file), "--app", "1", database_url=url)
    assert "refused         3" in words.stdout


@pytest.mark.parametrize(
    "name, content, code, said",
    [
        ("nowhere.csv", None, 1, "nowhere.csv cannot be read: No such file"),
        ("users.txt", TABLE, 2, "must end with .csv or .jsonl"),
        ("users.csv", "id,colour\n1,red\n", 2, "unknown column colour"),
    ],
)
def test_a_file_that_is_none_is_one_line_on_stderr(ringbook, databases: Databases, tmp_path, name, content, code, said):
    if content:
        (tmp_path / name).write_text(content)
    with databases.fresh("sqlite") as url:
        application(url)
        done = ringbook("users", "import", str(tmp_path / name), "--app", "1", database_url=url)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_an_application_that_is_not_there_is_named(ringbook, url, file):
    done = ringbook("users", "import", str(file), "--app", "7", database_url=url)
    assert done.returncode == 1
    assert "there is no application 7" in done.stderr


def test_an_import_that_is_interrupted_says_how_to_go_on(ringbook, url, file, monkeypatch):
    def interrupted(*_given: object, **_more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(imports, "import_users", interrupted)
    done = ringbook("users", "import", str(file), "--app", "1", database_url=url)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted: imported users stay; import users.csv again for the rest\n"


def test_a_terminal_sees_how_far_it_is(databases: Databases, file):
    with databases.fresh("sqlite") as url:
        application(url)
        ours, theirs = pty.openpty()
        command = [program(), "users", "import", str(file), "--app", "1"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=theirs, env=environment(url) | {"TERM": "xterm"}
        )
        said = process.communicate(timeout=30)[0].decode()
        os.close(theirs)
        shown = os.read(ours, 100_000).decode()
        os.close(ours)
    assert process.returncode == 0
    assert "2/2" in shown
    assert "2/2" not in said and "added" in said


def test_an_export_to_a_file_is_for_its_owner_alone_and_overwrites_nothing(ringbook, url, file, tmp_path):
    brought(ringbook, url, file)
    output = tmp_path / "ann.json"
    done = ringbook("users", "export", "1005", "--output", str(output), database_url=url)
    assert done.returncode == 0, done.stderr
    assert output.stat().st_mode & 0o777 == 0o600
    assert json.loads(output.read_text())["user"]["login"] == "ann"
    again = ringbook("users", "export", "1006", "--output", str(output), database_url=url)
    assert again.returncode == 1
    assert "cannot be written: File exists" in again.stderr
    assert json.loads(output.read_text())["user"]["login"] == "ann"


@pytest.mark.parametrize("command", [["export", "7"], ["erase", "7", "--yes"]])
def test_a_user_who_is_not_there_is_named(ringbook, url, command):
    done = ringbook("users", *command, database_url=url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no user 7" in done.stderr


def test_erasing_needs_a_yes_and_tells_what_went(ringbook, url, file):
    brought(ringbook, url, file)
    refused = ringbook("users", "erase", "1005", database_url=url)
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    done = ringbook("users", "erase", "1005", "--yes", "--json", database_url=url)
    gone = {"user_id": 1005, "sessions": 0, "address_books": 0, "contacts": 0, "subscriptions": 0, "numbers": 1}
    assert json.loads(done.stdout) == gone
    assert ringbook("users", "export", "1005", database_url=url).returncode == 1
    assert ringbook("users", "export", "1006", database_url=url).returncode == 0


@pytest.mark.parametrize("typed, code", [("1006", 1), ("1005", 0)])
def test_on_a_terminal_erasing_asks_for_the_id(ringbook, databases: Databases, file, typed, code):
    with databases.fresh("sqlite") as url:
        application(url)
        brought(ringbook, url, file)
        ours, theirs = pty.openpty()
        command = [program(), "users", "erase", "1005"]
        process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, env=environment(url))
        os.write(ours, f"{typed}\n".encode())
        process.communicate(timeout=30)
        os.close(ours)
        os.close(theirs)
        assert process.returncode == code
        assert ringbook("users", "export", "1005", database_url=url).returncode == 1 - code


def test_a_number_is_given_to_a_user_and_taken_from_whoever_has_it_now(ringbook, url, file):
    file.write_text("id,login,phone,verified\n1005,ann,,\n1006,bob,+12025550101,true\n")
    brought(ringbook, url, file)
    give = ("users", "give-number", "1005", "+1 202 555 0101", "--app", "1")
    refused = ringbook(*give, database_url=url)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "user 1006 has it now" in refused.stderr and "--yes" in refused.stderr
    done = ringbook(*give, "--yes", "--json", database_url=url)
    assert json.loads(done.stdout) == {"user_id": 1005, "phone": "+1 202 555 0101", "taken_from": [1006]}
    exported = {one: json.loads(ringbook("users", "export", one, database_url=url).stdout) for one in ("1005", "1006")}
    assert exported["1005"]["user"]["phone"] == "+1 202 555 0101"
    assert exported["1005"]["numbers"][0]["verified_at"]
    assert (exported["1006"]["user"]["phone"], exported["1006"]["numbers"]) == (None, [])
    again = ringbook(*give, database_url=url)
    assert again.returncode == 0, again.stderr
    assert "nobody" in again.stdout


@pytest.mark.parametrize(
    "words, code, said",
    [
        (["7", "+12025550142", "--app", "1"], 1, "there is no user 7 in application 1"),
        (["1005", "+12025550142", "--app", "7"], 1, "there is no application 7"),
        (["1005", "12", "--app", "1"], 2, "phone: must be a whole phone number, + and country code first"),
        (["1005", "+12025550142"], 2, "--app"),
        (["ann", "+12025550142", "--app", "1"], 2, "ann"),
    ],
)
def test_a_number_that_cannot_be_given_is_one_line_on_stderr(ringbook, databases: Databases, file, words, code, said):
    with databases.fresh("sqlite") as url:
        application(url)
        brought(ringbook, url, file)
        done = ringbook("users", "give-number", *words, database_url=url)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_a_password_is_reset_by_id_or_with_the_application_by_login(ringbook, url, file):
    brought(ringbook, url, file)
    for words in (["1005"], ["ann", "--app", "1"], ["ANN", "--app", "1"]):
        done = ringbook("users", "reset-password", *words, "--json", database_url=url)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["user_id"] == 1005
    for words, code, said in [
        (["ann"], 2, "a login, an e-mail or a phone needs --app ID"),
        (["nobody", "--app", "1"], 1, "nobody has this id, login, e-mail or phone"),
        (["ann", "--app", "7"], 1, "there is no application 7"),
    ]:
        done = ringbook("users", "reset-password", *words, database_url=url)
        assert (done.returncode, done.stdout) == (code, "")
        assert said in done.stderr and done.stderr.count("\n") == 1


def test_app_show_masks_secret_settings(ringbook, databases: Databases):
    with databases.fresh("sqlite") as url:
        application(url)

        def shown(*options: str) -> dict[str, object]:
            found: dict[str, object] = json.loads(
                ringbook("app", "show", "1", "--json", *options, database_url=url).stdout
            )
            return found

        assert shown()["sms_twilio_auth_token"] == ""
        ringbook("app", "set", "1", "sms_twilio_auth_token", "very-secret", database_url=url)
        ringbook("app", "set", "1", "sms_gateway_headers", '{"Authorization": "very-secret"}', database_url=url)
        for options in ([], ["--secrets"]):
            found = shown(*options)
            assert "very-secret" not in json.dumps(found)
            assert found["sms_twilio_auth_token"] == found["sms_gateway_headers"] == "********"


@pytest.mark.parametrize(
    "words",
    [
        ("export", "99999999999999999999"),
        ("erase", "99999999999999999999", "--yes"),
        ("give-number", "99999999999999999999", "+12025550101", "--app", "1"),
        ("give-number", "1", "+12025550101", "--app", "99999999999999999999"),
        ("reset-password", "ann", "--app", "99999999999999999999"),
        ("export", "0"),
    ],
)
def test_an_id_that_none_can_be_is_refused_as_wrong_use(ringbook, url, words):
    ended = ringbook("users", *words, database_url=url)
    assert ended.returncode == 2
    assert "must be" in ended.stderr and "Traceback" not in ended.stderr


def test_users_are_found_by_whole_phones_and_emails_and_by_beginnings_of_names(ringbook, url):
    with closing(store.connect(url, seal=SEAL)) as db:
        app = applications.get(db, 1)
        with db.write() as tx:
            given = {"login": "annie", "full_name": "Ann Lee", "email": "ann@example.com", "phone": "+1 (202) 555-0101"}
            ann = core_users.add(tx, app, columns(given), 1_800_000_000)
    for text in ("ann@EXAMPLE.com", "+12025550101", "ann l", "annie", "anni", str(ann.id)):
        found = ringbook("users", "find", text, "--app", "1", "--json", database_url=url)
        assert (found.returncode, [row["id"] for row in json.loads(found.stdout)]) == (0, [ann.id]), text
    assert "Ann Lee" in ringbook("users", "find", "annie", "--app", "1", database_url=url).stdout
    for text in ("ann@ex", "+120255501", "nobody"):
        found = ringbook("users", "find", text, "--app", "1", database_url=url)
        assert found.returncode == 1 and "only as a whole" in found.stdout, text


def test_users_are_listed_page_by_page_the_newest_first(ringbook, url):
    with closing(store.connect(url, seal=SEAL)) as db:
        app = applications.get(db, 1)
        with db.write() as tx:
            made = [
                core_users.add(tx, app, columns({"login": f"user{n}"}), 1_800_000_000 + n // 2).id for n in range(5)
            ]

    def listed(*words: str) -> list[int]:
        done = ringbook("users", "list", "--app", "1", "--json", *words, database_url=url)
        assert done.returncode == 0, done.stderr
        return [row["id"] for row in json.loads(done.stdout)]

    everybody = listed()
    assert sorted(everybody) == sorted(made) and everybody[0] == made[4]
    pages = [listed("--limit", "2")]
    while pages[-1]:
        pages.append(listed("--limit", "2", "--after", str(pages[-1][-1])))
    assert [len(page) for page in pages] == [2, 2, 1, 0] and sum(pages, []) == everybody
    done = ringbook("users", "list", "--app", "1", "--limit", "2", database_url=url)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["id", *map(str, everybody[:2])]
    assert "None" not in done.stdout
    assert f"--after {everybody[1]} lists the next ones" in done.stderr
    done = ringbook("users", "list", "--app", "1", "--after", str(everybody[-1]), database_url=url)
    assert (done.returncode, done.stdout) == (0, "application 1 has no more users\n")
    done = ringbook("users", "list", "--app", "1", "--after", "999999", database_url=url)
    assert (done.returncode, done.stdout) == (1, "") and "has no user 999999" in done.stderr
