"""The commands as an operator or a script runs them: their output and their exit codes."""

import json
import os
import pty
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from noted import database_of, without_database
from push.providers import private_key, service_account
from servers import Databases, environment, key_file, program

from ringbook.app_settings import SETTINGS
from ringbook.cli import __main__
from ringbook.core import audit
from ringbook.seal import Key, Seal
from ringbook.store import db as databases


@dataclass(frozen=True)
class Ended:
    """The exit code and the output of a command; `database` is what it said on stderr about its database."""

    returncode: int
    stdout: str
    stderr: str
    database: str = ""


Run = Callable[..., Ended]


@pytest.fixture
def ringbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a command in an empty directory, on the database file `ringbook.db` there."""

    def run(*words: str, **settings: str) -> Ended:
        for name in [name for name in os.environ if name.startswith("RINGBOOK_")]:
            monkeypatch.delenv(name)
        # The file in the directory gets a key of its own; other databases have that of all tests.
        ours = {"key_file": str(key_file())} if "database" in settings else {"database": "sqlite:///ringbook.db"}
        for name, value in (ours | settings).items():
            monkeypatch.setenv(f"RINGBOOK_{name.upper()}", value)
        monkeypatch.setattr(sys, "argv", ["ringbook", *words])
        with pytest.raises(SystemExit) as end:
            __main__.main()
        written = capsys.readouterr()
        return Ended(end.value.code, written.out, without_database(written.err), database_of(written.err))

    monkeypatch.chdir(tmp_path)
    yield run
    structlog.reset_defaults()  # a command says for the whole process what is logged


def answer(done: Ended) -> dict[str, object]:
    assert done.returncode == 0, done.stderr
    read: dict[str, object] = json.loads(done.stdout)
    return read


def test_create_on_an_empty_directory_makes_the_database_and_answers_the_keys(ringbook, tmp_path):
    made = answer(ringbook("app", "create", "Friends", "--json"))
    assert set(made) == {"application_id", "auth_key", "auth_secret"}
    assert made["application_id"] == 1
    assert (tmp_path / "ringbook.db").stat().st_mode & 0o777 == 0o600


def test_create_on_an_empty_file_makes_the_schema_but_no_other_command_does(ringbook, tmp_path):
    (tmp_path / "ringbook.db").touch()
    assert "run `ringbook migrate`" in ringbook("app", "list").stderr
    assert ringbook("app", "create", "Friends").returncode == 0
    assert "Friends" in ringbook("app", "list").stdout


def test_show_masks_what_is_secret_unless_asked(ringbook):
    made = answer(ringbook("app", "create", "Friends", "--json"))
    shown = answer(ringbook("app", "show", "1", "--json"))
    assert (shown["application_id"], shown["name"], shown["auth_key"]) == (1, "Friends", made["auth_key"])
    assert shown["vapid_public_key"]
    assert shown["session_creates_user"] is True
    assert made["auth_secret"] not in json.dumps(shown)
    assert answer(ringbook("app", "show", "1", "--json", "--secrets"))["auth_secret"] == made["auth_secret"]
    assert made["auth_secret"] in ringbook("app", "show", "1", "--secrets").stdout


def test_a_setting_that_is_secret_is_never_shown_again(ringbook):
    """No command that shows the application, no change or refusal, and no entry of the audit log shows it."""
    ringbook("app", "create", "Friends")
    pem = private_key()[0]
    given = {"fcm_service_account": service_account("https://oauth.example.com/token")[0], "apns_key": pem}
    given |= {"webhook_secret": "open-sesame-1", "sms_gateway_headers": '{"Authorization": "open-sesame-2"}'}
    given |= {"sms_twilio_auth_token": "open-sesame-3"}
    assert set(given) == {key for key, declared in SETTINGS.items() if declared.secret}
    told = [ringbook("app", "set", "1", key, value) for key, value in given.items()]
    told += [
        ringbook("app", "set", "1", "apns_key", pem[:-40]),
        ringbook("app", "set", "1", "webhook_secret", "whsec_!"),
    ]
    told += [
        ringbook("app", "show", "1", *words) for words in ((), ("--json",), ("--secrets",), ("--secrets", "--json"))
    ]
    assert [one.returncode for one in told] == [0] * 5 + [2] * 2 + [0] * 4
    with closing(sqlite3.connect("ringbook.db")) as file:
        assert file.execute("SELECT count(*) FROM audit").fetchone()[0] >= 5
    with closing(databases.connect("sqlite:///ringbook.db", seal=Seal(Key.read(Path("ringbook.key")).secret))) as db:
        noted = audit.page(db, 100)
    said = "".join(one.stdout + one.stderr for one in told) + repr(noted)
    assert not any(part in said for part in ("open-sesame", "PRIVATE KEY", pem.splitlines()[1][:30], "whsec_!"))


def test_a_setting_is_changed_and_a_wrong_one_is_refused_as_wrong_use(ringbook):
    ringbook("app", "create", "Friends")
    assert ringbook("app", "set", "1", "default_region", "gb").returncode == 0
    assert answer(ringbook("app", "show", "1", "--json"))["default_region"] == "GB"
    for key, value, said in [
        ("default_region", "Atlantis", "default_region"),
        ("profiles", "closed", "known or open"),
        ("contact_joined_delay_seconds", "10m", "must be a whole number, 0 or more"),
        ("contact_joined_delay_seconds", "1000000000", "must have at most 9 digits"),
        ("contact_joined_digest", "1001", "must be a whole number from 0 to 1000"),
        ("contact_joined_language", "deutsch", "must be a language such as en or pt-BR"),
        ("colour", "red", "there is no setting colour; there are session_creates_user, "),
        ("profile", "open", "there is no setting profile; did you mean profiles?"),
        ("push_wbhook", "x", "there is no setting push_wbhook; there are session_creates_user, "),
    ]:
        refused = ringbook("app", "set", "1", key, value)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert said in refused.stderr
        assert refused.stderr.count("\n") == 1


def setting(ringbook: Run, key: str) -> object:
    return answer(ringbook("app", "show", "1", "--json"))[key]


@pytest.mark.parametrize(
    "content, value",
    [
        (b'{"token": "#{login}", "note": "a\\nb"}\n', '{"token": "#{login}", "note": "a\\nb"}'),
        (b'{\n  "token": "x"\n}\n\n', '{\n  "token": "x"\n}\n'),
        (b'{"token": "x"}\r\n', '{"token": "x"}'),
        (b'{"token": "\xc3\xbc"}', '{"token": "ü"}'),
    ],
)
def test_a_setting_may_come_from_a_file_without_its_last_newline(ringbook, tmp_path, content, value):
    ringbook("app", "create", "Friends")
    (tmp_path / "value.txt").write_bytes(content)
    assert ringbook("app", "set", "1", "cidp_request", "@value.txt").returncode == 0
    assert setting(ringbook, "cidp_request") == value


def test_a_value_that_begins_with_an_at_sign_goes_through_a_file(ringbook, tmp_path):
    ringbook("app", "create", "Friends")
    (tmp_path / "value.txt").write_text("@friends\n")
    ringbook("app", "set", "1", "firebase_project_id", f"@{tmp_path / 'value.txt'}")
    assert setting(ringbook, "firebase_project_id") == "@friends"


@pytest.mark.parametrize(
    "name, content, code, said",
    [
        ("nowhere.txt", None, 1, "nowhere.txt cannot be read: No such file"),
        (".", None, 1, ". cannot be read: Is a directory"),
        ("", None, 1, "the file after @ cannot be read: No such file"),
        ("a\0b", None, 1, "cannot be read: that is not a valid file name"),
        ("latin1.txt", b"caf\xe9", 2, "latin1.txt is not UTF-8"),
        ("large.txt", b"x" * (2**20 + 1), 2, "large.txt is larger than 1 MiB"),
    ],
)
def test_a_file_that_holds_no_value_is_one_line_on_stderr(ringbook, tmp_path, name, content, code, said):
    ringbook("app", "create", "Friends")
    if content:
        (tmp_path / name).write_bytes(content)
    refused = ringbook("app", "set", "1", "sms_twilio_auth_token", f"@{name}")
    assert (refused.returncode, refused.stdout) == (code, "")
    assert said in refused.stderr and refused.stderr.count("\n") == 1
    assert setting(ringbook, "sms_twilio_auth_token") == ""


def test_a_file_of_just_a_mebibyte_is_read(ringbook, tmp_path):
    ringbook("app", "create", "Friends")
    (tmp_path / "large.txt").write_bytes(b"x" * 2**20)
    assert ringbook("app", "set", "1", "firebase_project_id", "@large.txt").returncode == 0


def test_the_help_of_app_set_says_where_the_settings_are_listed_and_what_an_at_sign_means(ringbook):
    words = " ".join(ringbook("app", "set", "--help").stdout.split())
    assert "ringbook app show" in words and "@FILE" in words


def test_the_help_of_app_set_names_every_setting_and_says_what_it_means(ringbook):
    words = " ".join(ringbook("app", "set", "--help").stdout.split())
    assert all(name in words for name in SETTINGS)
    assert "the Firebase project whose ID tokens are accepted" in words


def test_rotated_keys_are_new(ringbook):
    made = answer(ringbook("app", "create", "Friends", "--json"))
    refused = ringbook("app", "rotate-keys", "1", "--json")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "no installed app" in refused.stderr and "--yes" in refused.stderr
    assert answer(ringbook("app", "show", "1", "--json"))["auth_key"] == made["auth_key"]
    rotated = answer(ringbook("app", "rotate-keys", "1", "--json", "--yes"))
    assert rotated["application_id"] == 1
    assert rotated["auth_key"] != made["auth_key"]
    assert rotated["auth_secret"] != made["auth_secret"]


def test_list_shows_every_application_in_words_and_in_json(ringbook):
    ringbook("app", "create", "Friends")
    ringbook("app", "create", "Foes")
    listed = json.loads(ringbook("app", "list", "--json").stdout)
    assert [(one["application_id"], one["name"]) for one in listed] == [(1, "Friends"), (2, "Foes")]
    words = ringbook("app", "list").stdout
    assert "Friends" in words
    assert listed[0]["auth_key"] in words


def test_deleting_needs_a_yes_where_nobody_can_be_asked(ringbook):
    ringbook("app", "create", "Friends")
    refused = ringbook("app", "delete", "1")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert ringbook("app", "delete", "1", "--yes").returncode == 0
    gone = ringbook("app", "show", "1")
    assert gone.returncode == 1
    assert "there is no application 1" in gone.stderr


@pytest.mark.parametrize("typed, code", [("Foes", 1), ("Friends", 0)])
def test_on_a_terminal_deleting_asks_for_the_name(ringbook, tmp_path, typed, code):
    ringbook("app", "create", "Friends")
    ours, theirs = pty.openpty()
    surroundings = environment("sqlite:///ringbook.db", key_file="ringbook.key")
    process = subprocess.Popen(
        [program(), "app", "delete", "1"], stdin=theirs, stdout=subprocess.PIPE, cwd=tmp_path, env=surroundings
    )
    os.write(ours, f"{typed}\n".encode())
    said = process.communicate(timeout=30)[0].decode()
    os.close(ours)
    os.close(theirs)
    assert "Friends" in said
    assert process.returncode == code
    assert ringbook("app", "show", "1").returncode == 1 - code


@pytest.mark.parametrize(
    "words", [["app", "list"], ["users", "reset-password", "1"], ["admin", "create", "a@b.example"]]
)
def test_without_a_database_a_command_says_so_and_makes_none(ringbook, tmp_path, words):
    refused = ringbook(*words)
    assert refused.returncode == 1
    assert "ringbook migrate" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_on_an_empty_postgresql_database_a_command_asks_for_the_migration(ringbook, databases: Databases):
    with databases.postgresql.database() as url:
        refused = ringbook("app", "create", "Friends", database=url)
        assert refused.returncode == 1
        assert "run `ringbook migrate`" in refused.stderr
        assert ringbook("migrate", database=url).returncode == 0
        assert "already" in ringbook("migrate", database=url).stdout
        assert answer(ringbook("app", "create", "Friends", "--json", database=url))["application_id"] == 1


def test_a_database_that_cannot_be_reached_is_a_failure_in_one_line(ringbook, monkeypatch):
    monkeypatch.setattr("ringbook.store.db.postgres.WAIT_SECONDS", 0.5)
    refused = ringbook("app", "list", database="postgresql://nobody@127.0.0.1:1/none")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "nothing accepts connections at the address in RINGBOOK_DATABASE" in refused.stderr


def test_a_driver_adds_no_lines_to_a_failure(ringbook, monkeypatch, databases: Databases):
    """Its connection pool logs a warning for each attempt."""
    monkeypatch.setattr("ringbook.store.db.postgres.WAIT_SECONDS", 0.5)
    with databases.postgresql.database() as url:
        for wrong in (url + "_gone", "postgresql://nobody@127.0.0.1:1/none", "postgresql://nobody@db.invalid/none"):
            refused = ringbook("app", "list", database=wrong)
            assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
            assert refused.stderr.startswith("ringbook: ")


def test_every_command_says_which_database_it_uses(ringbook, tmp_path):
    file = str(tmp_path / "ringbook.db")
    assert ringbook("migrate").database == file
    assert ringbook("app", "create", "Friends", "--json").database == file
    for words in (
        *(["app", "list"], ["app", "show", "1", "--json"], ["app", "set", "1", "default_region", "GB"]),
        *(["admin", "list"], ["users", "list", "--app", "1"], ["users", "find", "x", "--app", "1", "--json"]),
        *(["push", "status"], ["key", "rotate"], ["check"], ["vacuum", "--json"], ["why", "1", "+12025550101"]),
        *(["backup", "copy.db"], ["restore", "copy.db", "--yes"], ["erase-again"]),
    ):
        assert ringbook(*words).database == file, words
    gone = ringbook("app", "list", database="postgresql://ann:secret@127.0.0.1:1/book?connect_timeout=1")
    assert "127.0.0.1:1/book" in gone.database
    assert "secret" not in gone.database and "ann" not in gone.database


def test_an_admin_gets_a_password_and_another_one(ringbook):
    ringbook("migrate")
    made = answer(ringbook("admin", "create", "ann@example.com", "--json"))
    assert made["email"] == "ann@example.com"
    assert ringbook("admin", "create", "ann@example.com").returncode == 2
    renewed = answer(ringbook("admin", "reset-password", "ann@example.com", "--json"))
    assert renewed["password"] != made["password"]
    assert ringbook("admin", "reset-password", "bob@example.com").returncode == 1


def test_admins_are_listed_and_let_in_no_more(ringbook):
    ringbook("migrate")
    ringbook("admin", "create", "ann@example.com")
    (one,) = answer(ringbook("admin", "list", "--json"))
    assert one["email"] == "ann@example.com" and one["seen"] is None and "T" in one["since"]
    assert "logged in nowhere" in ringbook("admin", "list").stdout
    missing = ringbook("admin", "delete", "bob@example.com", "--yes")
    assert missing.returncode == 1 and "ringbook admin list" in missing.stderr
    assert ringbook("admin", "delete", "Ann@Example.com", "--yes").returncode == 0
    assert answer(ringbook("admin", "list", "--json")) == []
    assert "ringbook admin create" in ringbook("admin", "list").stdout


def test_the_password_of_a_user_who_is_not_there_cannot_be_reset(ringbook):
    ringbook("migrate")
    refused = ringbook("users", "reset-password", "7")
    assert (refused.returncode, refused.stdout) == (1, "")


@pytest.mark.parametrize(
    "words, said",
    [
        (["swerve"], "swerve"),
        (["serve", "--prot", "1"], "--prot"),
        (["serve", "--port", "x"], "--port"),
        (["serve", "--port", "70000"], "--port: 70000 is not accepted; it takes a whole number from 0 to 65535"),
        (["app", "show"], "ID"),
        (["app", "show", "one"], "one"),
        (["app", "show", "1", "2"], "2"),
        (["app", "show", "1", "--config", "nowhere.toml"], "nowhere.toml: cannot be read"),
    ],
)
def test_wrong_use_is_one_line_and_ends_with_2(ringbook, words, said):
    refused = ringbook(*words)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("ringbook: ")
    assert refused.stderr.count("\n") == 1
    assert said in refused.stderr


@pytest.mark.parametrize("words", [["serve"], ["check"], ["app", "list"]])
def test_an_unknown_setting_stops_every_command(ringbook, words):
    refused = ringbook(*words, prot="1")
    assert refused.returncode == 2
    assert refused.stderr == "ringbook: RINGBOOK_PROT is not a setting; did you mean RINGBOOK_PORT?\n"


def test_a_configuration_file_goes_before_or_after_the_command(ringbook, tmp_path):
    (tmp_path / "ringbook.toml").write_text("prot = 1\n")
    for words in (["--config", "ringbook.toml", "migrate"], ["migrate", "--config", "ringbook.toml"]):
        assert "prot in ringbook.toml is not a setting" in ringbook(*words).stderr


def test_check_names_what_is_right_and_what_is_not(ringbook, tmp_path):
    absent = ringbook("check")
    assert absent.returncode == 1
    assert "NO   database: there is no database" in absent.stdout
    assert not (tmp_path / "ringbook.db").exists()
    ringbook("migrate")
    fine = ringbook("check")
    assert fine.returncode == 0, fine.stdout
    for what in ("Python", "phone numbers", "database: SQLite", "schema: revision", "database file"):
        assert what in fine.stdout
    (tmp_path / "ringbook.db").chmod(0o644)
    open_to_all = json.loads(ringbook("check", "--json").stdout)
    assert [one["what"] for one in open_to_all if not one["ok"]] == ["database file"]


def test_check_looks_whether_certificate_and_key_go_together(ringbook, tmp_path):
    import trustme

    authority = trustme.CA()
    one, other = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    one.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    one.private_key_pem.write_to_path(tmp_path / "key.pem")
    (tmp_path / "key.pem").chmod(0o600)
    other.private_key_pem.write_to_path(tmp_path / "other.pem")
    ringbook("migrate")
    assert ringbook("check", tls_cert="cert.pem", tls_key="key.pem").returncode == 0
    wrong = ringbook("check", tls_cert="cert.pem", tls_key="other.pem")
    assert wrong.returncode == 1
    assert "NO   TLS: the key in RINGBOOK_TLS_KEY does not belong to the certificate" in wrong.stdout
    missing = ringbook("check", tls_cert="cert.pem", tls_key="nowhere.pem")
    assert "RINGBOOK_TLS_KEY cannot be read" in missing.stdout


def test_openapi_is_a_document_that_names_the_upload(ringbook):
    document = answer(ringbook("openapi"))
    assert str(document["openapi"]).startswith("3.1")
    assert "/address_book" in document["paths"]


def test_help_and_version(ringbook):
    assert "serve" in ringbook("--help").stdout
    assert "--no-worker" in ringbook("serve", "--help").stdout
    assert ringbook("--version").stdout.strip().count(".") == 2


def test_a_reader_that_goes_away_is_no_traceback(ringbook, tmp_path):
    ringbook("migrate")
    surroundings = environment("sqlite:///ringbook.db", key_file="ringbook.key")
    process = subprocess.Popen(
        [program(), "check"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=surroundings
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    assert "Traceback" not in process.stderr.read().decode()
    process.wait(30)


def test_what_commands_change_or_show_is_in_the_audit_log(ringbook):

    for words in (
        ("app", "create", "Friends"),
        ("app", "set", "1", "events", "off"),
        ("app", "show", "1"),
        ("app", "show", "1", "--secrets"),
        ("app", "rotate-keys", "1", "--yes"),
        ("admin", "create", "eve@example.com"),
        ("admin", "reset-password", "eve@example.com"),
        ("app", "delete", "1", "--yes"),
    ):
        assert ringbook(*words).returncode == 0, words
    seal = Seal(Key.read(Path("ringbook.key")).secret)
    with closing(databases.connect("sqlite:///ringbook.db", seal=seal)) as db:
        entries = audit.page(db, 20)
    assert {(one.admin, one.address) for one in entries} == {(audit.COMMAND_LINE, "")}
    assert [one.action for one in reversed(entries)] == [
        "application created",
        "setting changed",
        "secret shown",
        "keys rotated",
        "admin created",
        "admin's password reset",
        "application deletion began",
        "application deleted",
    ]


@pytest.mark.parametrize(
    "words, said",
    [
        ("srve", "there is no command `ringbook srve`: did you mean `serve`? `ringbook --help` lists the commands"),
        ("users lst", "`ringbook users lst`: did you mean `list`? `ringbook users --help` lists the commands"),
        ("help", "there is no command `ringbook help`; `ringbook --help` lists the commands"),
        ("--foo", "`ringbook` has no option --foo; `ringbook --help` lists the options"),
        (
            "app list --josn",
            "`ringbook app list` has no option --josn: did you mean `--json`? `ringbook app list --help`",
        ),
        ("app show", "`ringbook app show` needs ID; `ringbook app show --help` describes it"),
        ("app show x", "ID takes a whole number, not 'x'; `ringbook app show --help` describes it"),
        ("app show 0", "ID must be >= 1; `ringbook app show --help` describes it"),
        ("app show 1 2", "too many arguments, from '2' on: put text with spaces in quotes; `ringbook app show --help`"),
        ("users list", "`ringbook users list` needs --app; `ringbook users list --help` describes it"),
        ("users list --app", "--app needs a value after it; `ringbook users list --help` describes it"),
        ("admin create a@example.com --role king", "--role takes owner or viewer, not 'king'"),
    ],
)
def test_a_command_that_cannot_be_read_says_what_is_wrong_and_where_to_look(ringbook, words, said):
    refused = ringbook(*words.split())
    assert (refused.returncode, refused.stdout) == (2, "") and said in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_file_in_a_folder_that_is_not_there_is_told_with_the_folder(ringbook, tmp_path):
    ringbook("app", "create", "Friends")
    assert "there is no folder /nowhere: create it" in ringbook("backup", "/nowhere/copy.db").stderr
    refused = ringbook("app", "create", "Friends", database="sqlite:////nowhere/ringbook.db", key_file="")
    assert "there is no folder /nowhere" in refused.stderr and "RINGBOOK_DATABASE" in refused.stderr
    no_backup = ringbook("restore", "ringbook.key").stderr
    assert "ringbook.key is not a backup of Ringbook" in no_backup


def test_an_admin_who_is_not_there_is_told_before_anything_is_confirmed(ringbook):
    ringbook("app", "create", "Friends")
    refused = ringbook("admin", "delete", "nobody@example.com")
    assert "there is no admin nobody@example.com" in refused.stderr and "--yes" not in refused.stderr
