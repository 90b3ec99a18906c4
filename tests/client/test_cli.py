"""The command ringbook-contacts, against a running server on both databases."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from asking import PASSWORD, write
from ringbook_client import Client, Login, account, cli
from servers import application, eventually, free_port

BOOK = """BEGIN:VCARD
VERSION:3.0
FN:Bobby
TEL:+1 (202) 555-0142
END:VCARD
BEGIN:VCARD
VERSION:3.0
FN:Cat
TEL:+44 7700 900123
END:VCARD
BEGIN:VCARD
VERSION:3.0
FN:Short
TEL:123
END:VCARD
"""
CUT = BOOK[: BOOK.index("FN:Cat")]


class Person:
    """A user at a terminal, with a home folder and a login."""

    def __init__(self, server, folder: Path, monkeypatch, capsys) -> None:
        self.server, self.folder, self.monkeypatch, self.capsys = server, folder, monkeypatch, capsys
        self.name = f"user-{uuid.uuid4().hex}"
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))

    def run(self, *words: str, typed: str | io.StringIO = "") -> tuple[int, str, str]:
        """Run the command; returns the exit status, stdout and stderr."""
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(typed) if isinstance(typed, str) else typed)
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        written = self.capsys.readouterr()
        return ended.value.code, written.out, written.err

    def done(self, *words: str, typed: str | io.StringIO = "") -> str:
        """Run a command that must succeed; returns stdout."""
        code, out, err = self.run(*words, typed=typed)
        assert code == 0, err
        return out

    def json(self, *words: str):
        """Run a command that must succeed with --json; returns the result."""
        return json.loads(self.done(*words, "--json"))

    def log_in(self, *more: str, app=None, typed: str | io.StringIO = PASSWORD) -> str:
        app = app or self.server.app
        keys = ("--url", self.server.url, "--app", str(app.application_id), "--key", app.auth_key)
        who = () if "--phone" in more else ("--login", self.name, "--password-file", "-")
        return self.done("login", *keys, *who, *more, typed=typed)

    def file(self, text: str, name: str = "contacts.vcf") -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)


@pytest.fixture
def ann(server, tmp_path, monkeypatch, capsys):
    return Person(server, tmp_path, monkeypatch, capsys)


def test_a_file_is_synced_and_registered_contacts_are_listed(server, ann):
    with Client(server.url, server.app.application_id, server.app.auth_key) as bobs:
        bob = bobs.sign_up(login=f"user-{uuid.uuid4().hex}", password=PASSWORD, phone="+12025550142")
    assert "Logged in" in ann.log_in()
    synced = ann.done("sync", ann.file(BOOK))
    assert re.search(r"added +2\b", synced) and re.search(r"rejected +1\b", synced)
    assert "Short  …  Length of 'phone'" in synced
    assert "Bobby  …42" in ann.done("list")
    friends = ann.done("registered")
    assert re.search(rf"{bob.id} +Bobby +…42", friends)
    assert "Logged out" in ann.done("logout")
    assert ann.run("list")[0] == 1


def test_json_output_has_the_same_results(server, ann):
    ann.log_in()
    file = ann.file(BOOK)
    plan = ann.json("sync", file, "--dry-run")
    assert (plan["full"], len(plan["added"])) == ("this is the first sync", 3)
    assert ann.json("list") == []
    synced = ann.json("sync", file)
    assert (synced["added"], synced["renamed"], synced["removed"], synced["unchanged"]) == (2, 0, 0, 0)
    assert [one["name"] for one in synced["rejected"]] == ["Short"]
    assert ann.json("list") == [{"name": "Bobby", "phone": "…42"}, {"name": "Cat", "phone": "…23"}]
    assert ann.json("list", "--show-numbers")[0]["phone"] == "+1 (202) 555-0142"
    assert ann.json("sync", file)["unchanged"] == 2
    assert ann.json("logout") == {}


def test_phone_numbers_are_masked_without_show_numbers(ann):
    ann.log_in()
    unnamed = BOOK.replace("FN:Cat\n", "").replace("FN:Short", "FN:Call +1 202 555 0199 now")
    for words in (("sync", ann.file(unnamed), "--dry-run"), ("sync", ann.file(unnamed)), ("list",), ("registered",)):
        for more in ((), ("--json",)):
            _, out, err = ann.run(*words, *more)
            assert not re.search(r"\d{4}|555|900", out), out
            assert err == ""
    assert "+44 7700 900123" in ann.done("list", "--show-numbers")


def test_a_dry_run_shows_the_changes_and_makes_none(ann):
    ann.log_in()
    ann.done("sync", ann.file(BOOK))
    before = account.state_path().read_bytes()
    changed = ann.file(BOOK.replace("FN:Bobby", "FN:Robert").replace("+44 7700 900123", "+44 7700 900124"))
    shown = ann.done("sync", changed, "--dry-run")
    assert "~ Robert  …42" in shown and "+ Cat  …24" in shown and "- Cat  …23" in shown
    assert account.state_path().read_bytes() == before and "Bobby" in ann.done("list")
    assert "Nothing has changed." in ann.done("sync", ann.file(BOOK), "--dry-run")


def test_a_number_in_another_spelling_is_one_line_of_a_dry_run(ann):
    ann.log_in()
    ann.done("sync", ann.file(BOOK))
    respelled = ann.file(BOOK.replace("+44 7700 900123", "+44 7700-900-123"))
    shown = ann.done("sync", respelled, "--dry-run")
    assert "~ Cat  …23  (number spelled differently)" in shown
    assert not re.search(r"^[+-] Cat", shown, re.MULTILINE)
    plan = ann.json("sync", respelled, "--dry-run", "--show-numbers")
    assert (plan["added"], plan["renamed"], plan["removed"]) == ([], [], [])
    assert plan["respelled"] == [{"name": "Cat", "phone": "+44 7700-900-123", "before": "+44 7700 900123"}]
    synced = ann.json("sync", respelled)
    counts = {kind: synced[kind] for kind in ("added", "renamed", "respelled", "removed", "unchanged")}
    assert counts == {"added": 0, "renamed": 0, "respelled": 1, "removed": 0, "unchanged": 1}


def test_a_truncated_file_removes_no_contact(ann):
    ann.log_in()
    ann.done("sync", ann.file(BOOK))
    code, out, err = ann.run("sync", ann.file(CUT))
    assert code == 0 and "could not be read:\n  line" in out and "no contact is removed" in err
    assert "Cat" in ann.done("list")
    assert ann.json("sync", ann.file(CUT), "--remove")["removed"] == 1
    assert "Cat" not in ann.done("list")


@pytest.mark.parametrize("text", ["", "BEGIN", "\0\1\2"])
def test_a_file_that_cannot_be_read_changes_nothing(ann, text):
    ann.log_in()
    ann.done("sync", ann.file(BOOK))
    code, out, err = ann.run("sync", ann.file(text))
    assert code == 1 and out == "" and len(err.splitlines()) == 1
    assert len(ann.json("list")) == 2
    assert ann.run("sync", str(ann.folder / "missing.vcf"))[0] == 1


def test_a_file_without_contacts_empties_the_book_only_with_allow_empty(ann):
    ann.log_in()
    ann.done("sync", ann.file(BOOK))
    without_numbers = ann.file("BEGIN:VCARD\nVERSION:3.0\nFN:Bobby\nEND:VCARD\n")
    code, _, err = ann.run("sync", without_numbers)
    assert code == 1 and "--allow-empty" in err and len(ann.json("list")) == 2
    assert ann.json("sync", without_numbers, "--allow-empty")["removed"] == 2
    assert "The address book is empty" in ann.done("list")


# ── the account ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_only_the_owner_can_read_the_credentials(ann):
    ann.log_in()
    ann.done("sync", ann.file(BOOK))
    for file in (account.credentials_path(), account.state_path()):
        assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    assert PASSWORD not in repr(account.load()) and account.load().token not in repr(account.load())
    ann.done("logout")
    assert not account.credentials_path().exists() and not account.state_path().exists()


def test_an_expired_session_is_renewed_with_the_saved_password(server, ann):
    ann.log_in()
    ann.done("sync", ann.file(BOOK))
    end_sessions(server, ann)
    assert len(ann.json("list")) == 2


def test_without_a_saved_password_an_expired_session_needs_a_new_log_in(server, ann):
    ann.log_in("--forget-password")
    assert account.load().password is None
    end_sessions(server, ann)
    code, _, err = ann.run("list")
    assert code == 1 and "login again" in err
    ann.log_in()
    assert ann.json("list") == []


def test_a_second_log_in_of_the_same_user_continues_with_the_same_book(ann):
    ann.log_in()
    ann.done("sync", ann.file(BOOK))
    ann.log_in()
    assert ann.json("sync", ann.file(BOOK))["full"] == ""
    ann.log_in("--device", "")
    assert ann.json("list") == []


class Messages(io.StringIO):
    """Standard input of a user who types the code of the last message."""

    def __init__(self, server) -> None:
        super().__init__()
        self.server = server

    def readline(self, *size):
        return re.findall(r"^DEVELOPMENT .*: (\d{6}) is your code", self.server.printed, re.MULTILINE)[-1] + "\n"


def test_log_in_says_whether_it_created_the_user(ann):
    assert "as new user" in ann.log_in()
    with signed_in(ann.server, ann) as client:
        write(
            ann.server, "UPDATE users SET created_at = created_at - 60 WHERE id = :id", id=client.get_session().user_id
        )
    assert "as user" in ann.log_in()


def test_another_user_cannot_log_in_before_the_first_logs_out(ann):
    ann.log_in()
    anns, ann.name = account.load(), f"user-{uuid.uuid4().hex}"
    keys = ("--url", ann.server.url, "--app", str(ann.server.app.application_id), "--key", ann.server.app.auth_key)
    words = ("login", *keys, "--login", ann.name, "--password-file", "-")
    code, _, err = ann.run(*words, typed=PASSWORD)
    assert code == 1 and "logout first" in err and account.load() == anns
    ann.done("logout")
    ann.done(*words, typed=PASSWORD)


def test_logout_local_deletes_the_files_without_the_server(ann):
    account.save(account.Account(f"http://127.0.0.1:{free_port()}", 1, "K", "d", True, 7))
    assert "Deleted the account on this machine" in ann.done("logout", "--local")
    assert not account.credentials_path().exists()
    assert ann.run("logout", "--local")[0] == 1


def test_log_in_with_a_one_time_code(server, ann):
    app = application(server.database_url, "codes", sms_gateway="console", sms_regions="GB")
    phone = f"+44 7700 900{uuid.uuid4().int % 1000:03}"
    assert "Logged in" in ann.log_in("--phone", phone, app=app, typed=Messages(server))
    assert account.load().password is None
    assert ann.json("registered") == []


def test_log_out_empties_the_book_of_this_machine_but_not_of_a_named_device(server, ann):
    ann.log_in()
    ann.done("sync", ann.file(BOOK))
    device = account.load().device
    ann.done("logout")
    with signed_in(server, ann) as client:
        assert client.get_address_book(device=device) == []
    ann.log_in("--device", "laptop")
    ann.done("sync", ann.file(BOOK))
    ann.done("logout")
    with signed_in(server, ann) as client:
        assert len(client.get_address_book(device="laptop")) == 2


def signed_in(server, person) -> Client:
    """A client of the same user, outside the command."""
    login = Login(person.name, PASSWORD)
    return Client(server.url, server.app.application_id, server.app.auth_key, sign_in=lambda: login)


def end_sessions(server, person) -> None:
    """End the session of the command."""
    with signed_in(server, person) as client:
        client.get_session()
        client.delete_other_sessions()


# ── wrong use and failures ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("nonsense",),
        ("sync",),
        ("sync", "x.vcf", "--keep", "--remove"),
        ("login", "--url", "book.example.com", "--app", "1", "--key", "K", "--login", "ann"),
        ("login", "--url", "http://127.0.0.1", "--app", "one", "--key", "K"),
        ("login", "--url", "http://127.0.0.1", "--app", "1", "--key", "K"),
        ("login", "--url", "http://127.0.0.1", "--app", "1", "--key", "K", "--login", "ann"),
        ("login",),
    ],
)
def test_wrong_use_prints_one_line(ann, words):
    code, out, err = ann.run(*words)
    assert code == 2 and out == "" and err.splitlines()[-1].count("ringbook-contacts: ") == 1


def test_an_unreachable_server_prints_one_line(ann):
    url = f"http://127.0.0.1:{free_port()}"
    ann.monkeypatch.setattr("ringbook_client.retries.FIRST_WAIT_SECONDS", 0)
    words = ("login", "--url", url, "--app", "1", "--key", "K", "--login", "ann", "--password-file", "-")
    code, out, err = ann.run(*words, typed=PASSWORD)
    assert code == 1 and out == "" and len(err.splitlines()) == 1 and "cannot be reached" in err


def test_log_in_over_unencrypted_http_prints_a_warning(ann):
    proxy = f"http://127.0.0.1:{free_port()}"  # nothing listens there, so no request leaves this machine
    for variable in ("HTTP_PROXY", "HTTPS_PROXY"):
        ann.monkeypatch.setenv(variable, proxy)
    ann.monkeypatch.setattr("ringbook_client.retries.FIRST_WAIT_SECONDS", 0)
    words = ("--app", "1", "--key", "K", "--login", "ann", "--password-file", "-")
    code, _, err = ann.run("login", "--url", "http://book.example.com", *words, typed=PASSWORD)
    assert code == 1 and "not encrypted" in err.splitlines()[0]
    assert "not encrypted" not in ann.run("login", "--url", "https://book.example.com", *words, typed=PASSWORD)[2]


def test_a_wrong_auth_key_or_application_id_is_named_with_the_options_to_check(ann):
    app_id, key = str(ann.server.app.application_id), ann.server.app.auth_key
    for wrong in (("--app", app_id, "--key", "wrong-key"), ("--app", "99999", "--key", key)):
        words = ("login", "--url", ann.server.url, *wrong, "--login", ann.name, "--password-file", "-")
        code, _, err = ann.run(*words, typed=PASSWORD)
        assert code == 1 and "--app and --key" in err and len(err.splitlines()) == 1


def test_a_wrong_password_is_reported(ann):
    ann.log_in()
    keys = ("--url", ann.server.url, "--app", str(ann.server.app.application_id), "--key", ann.server.app.auth_key)
    code, _, err = ann.run("login", *keys, "--login", ann.name, "--password-file", "-", typed="wrong-password")
    assert code == 1 and "password" in err and "wrong-password" not in err


def test_a_password_file_that_is_not_utf_8_is_refused(ann):
    file = ann.folder / "password"
    file.write_bytes(b"\xff\xfe")
    words = (
        "login",
        "--url",
        ann.server.url,
        "--app",
        "1",
        "--key",
        "K",
        "--login",
        "ann",
        "--password-file",
        str(file),
    )
    code, _, err = ann.run(*words)
    assert code == 2 and "UTF-8" in err


def test_a_terminal_that_cannot_show_a_name_shows_question_marks(ann):
    ann.log_in()
    ann.done("sync", ann.file(BOOK.replace("FN:Cat", "FN:王小明")))
    program = Path(sys.executable).with_name("ringbook-contacts")
    shown = subprocess.run([program, "list"], env=os.environ | {"PYTHONIOENCODING": "latin-1"}, capture_output=True)
    assert shown.returncode == 0 and b"???" in shown.stdout and shown.stderr == b""


def test_without_a_readable_account_the_command_says_how_to_log_in(ann):
    for words in (("list",), ("registered",), ("logout",), ("sync", ann.file(BOOK))):
        code, _, err = ann.run(*words)
        assert code == 1 and "run ringbook-contacts login" in err
    account.save(account.Account("http://x", 1, "K", "d", True))
    account.credentials_path().write_text("{")
    assert "login again" in ann.run("list")[2]
    account.credentials_path().write_bytes(b"\xff")
    assert "login again" in ann.run("list")[2]


def test_without_a_home_folder_the_command_says_which_variable_to_set(ann):
    ann.monkeypatch.delenv("XDG_CONFIG_HOME")
    ann.monkeypatch.setattr(Path, "home", homeless)
    code, _, err = ann.run("list")
    assert code == 1 and "set XDG_CONFIG_HOME" in err


def homeless() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_the_command_works_with_stderr_closed(ann):
    ann.log_in()
    program = Path(sys.executable).with_name("ringbook-contacts")
    shown = subprocess.run(f"exec {program} list 2>&-", shell=True, stdout=subprocess.PIPE, timeout=60)
    assert shown.returncode == 0 and b"empty" in shown.stdout


def test_ctrl_c_exits_with_130(tmp_path):
    program = Path(sys.executable).with_name("ringbook-contacts")
    words = [program, "login", "--url", "http://127.0.0.1", "--app", "1", "--key", "K"]
    own = os.environ | {"XDG_CONFIG_HOME": str(tmp_path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # A shell that starts the tests in the background lets them, and what they start, ignore the signal.
    with subprocess.Popen(words, env=own, preexec_fn=heed_ctrl_c, **pipes) as process:
        assert process.stderr.read(6) == b"Login:"
        eventually(lambda: is_asleep(process.pid), "it never waited for input")
        # Stdin stays open: the end of the input is another reason to exit with 130. A signal that comes just ahead of
        # the system call is only noticed after it, so it is sent again, as a user would press the keys again.
        for _ in range(60):
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)
                break
        out, err = process.communicate()
    assert process.returncode == 130 and b"Traceback" not in err and out == b""


def heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def is_asleep(pid: int) -> bool:
    """Does the process wait in a system call? Before that, the signal could arrive just ahead of the call."""
    return subprocess.run(["ps", "-p", str(pid), "-o", "stat="], capture_output=True).stdout.startswith(b"S")
