"""The demo: its history comes to what its plan foresees, on both databases, and `make demo` shows it."""

import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from asking import ask
from dashboard.visiting import Visitor
from history import History
from people import JUNK, international
from place import ADMIN, UNFINISHED, Place, Refused, State
from player import changed, subscription
from servers import application, environment, free_port, key_file, seal_of, serve
from terminals import COLUMNS, LINES, Terminal, terminal

from ringbook import phone as phones
from ringbook.core import activity, applications, overview, users
from ringbook.core.profile import columns
from ringbook.store import db as databases_

ROOT = Path(__file__).parent.parent
UNTIL = 1_795_701_600  # a Thursday, 18:00 UTC
SMALL = {"days": 8, "count": 160, "joining": 40, "choosing": False}
COUNTS = ("sent", "created", "updated", "deleted")

# What countries keep for fiction, in international digits; demo/README.md names who says so.
FICTIONAL = re.compile(
    r"447700900\d{3}|442079460\d{3}|44113496\d{4}|44117496\d{4}|442890180\d{3}|441632960\d{3}|448081570\d{3}"
    r"|1[2-9]\d\d55501\d\d|4917139200\d\d|3363998\d{4}|3532091\d{5}|467017406(?:0[5-9]|[1-9]\d)"
    r"|61491570(?:006|110|156|157|158|159|313|737)"
)


class Model:
    """The expected results of a history: books as dictionaries, friends by equal numbers."""

    def __init__(self, history):
        self.phones, self.books, self.numbers, self.devices, self.found = {}, {}, {}, {}, {}
        self.counts, self.refused, self.announced, self.pushes = Counter(), Counter(), set(), Counter()
        for event in history.events:
            getattr(self, event.kind, self.nothing)(event.who, **event.with_)

    def nothing(self, who):
        """A mistake of an app that changes nothing."""

    def join(self, who, contacts, phone, name, devices, wishes):
        self.numbers[who], self.phones[who], self.devices[who] = international(phone), contacts, len(devices)
        self.announce(who)
        self.visit(who)

    def announce(self, who):
        holders = {holder for holder, book in self.books.items() if self.numbers[who] in book and holder != who}
        for holder in holders - {told for told, number in self.announced if number == self.numbers[who]}:
            self.announced.add((holder, self.numbers[who]))
            self.pushes["joined"] += self.devices[holder]

    def visit(self, who):
        self.upload(who, self.phones[who], force=True)
        self.found[who] = {
            friend for friend, number in self.numbers.items() if number in self.books[who] and friend != who
        }

    def change(self, who, contacts):
        self.upload(who, contacts, force=False)
        self.phones[who] = changed(self.phones[who], contacts)

    def move(self, who, phone):
        self.numbers[who] = international(phone)
        self.announce(who)

    def leave(self, who):
        del self.numbers[who], self.books[who]

    def write(self, who, text):
        joined = list(self.devices)
        friends = sorted(self.found[who], key=joined.index)
        self.pushes["written"] += self.devices[friends[0]] if friends and friends[0] in self.numbers else 0

    def undefined(self, who):
        self.upload(who, [{"name": "undefined", "phone": "", "refused": "Invalid fields set"}] * 12, force=True)

    def upload(self, who, contacts, *, force):
        book, kept = self.books.setdefault(who, {}), set()
        for entry in contacts:
            word = self.applied(book, entry)
            self.counts.update({"sent": 1, word: 1})
            kept |= {entry["reads"]} if word in ("created", "updated") else set()
        for number in set(book) - kept if force and kept else ():
            self.counts["deleted"] += book.pop(number)

    def applied(self, book, entry):
        if "refused" in entry:
            self.refused[entry["refused"]] += 1
            return "refused"
        if entry.get("destroy"):
            return "deleted" if book.pop(entry["reads"], 0) else "ignored"
        known = entry["reads"] in book
        book[entry["reads"]] = 1
        return "updated" if known else "created"


@contextmanager
def opened(url):
    with closing(databases_.connect(url, seal=seal_of(url))) as db:
        yield db


def place_of(url, folder):
    return Place.of({"RINGBOOK_DATABASE": url, "RINGBOOK_KEY_FILE": str(key_file())}, folder)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def made(request, databases, tmp_path_factory):
    """A small demo, with its plan and what the server answered."""
    with databases.fresh(request.param) as url:
        place, history = place_of(url, tmp_path_factory.mktemp("demo")), History(UNTIL, **SMALL)
        assert place.state() is State.NOTHING
        yield place, history, place.make(UNTIL, lambda done, total: None, history=history)


def test_the_history_comes_to_what_its_plan_foresees(made):
    place, history, played = made
    model = Model(history)
    assert place.state() is State.READY
    assert {name: played.uploads[name] for name in COUNTS} == {name: model.counts[name] for name in COUNTS}
    assert played.refused == model.refused
    persons = {user: person for person, user in played.users.items()}
    found = {who: {persons[friend] for friend in friends} for who, friends in played.found.items()}
    assert found == model.found
    with opened(place.config.database) as db:
        app = place.found().app
        assert overview.counts(db, app) == {
            "users": len(model.numbers),
            "books": len(model.books),
            "contacts": sum(map(len, model.books.values())),
        }


def test_each_holder_gets_one_push_for_a_friend_who_joins(made):
    _, history, played = made
    expected = Model(history).pushes
    joined = sum('"type":"contact_joined"' in line for line in played.printed.pushes)
    assert (joined, len(played.printed.pushes) - joined) == (expected["joined"], expected["written"])
    assert joined > 50 and expected["written"] > 0
    assert '"Your friend Annie joined."' in "".join(played.printed.pushes[-20:])


def test_the_dashboard_shows_a_month_of_an_app(made):
    place, _, _ = made
    with opened(place.config.database) as db:
        app = place.found().app
        view = overview.of(db, app, UNTIL)
        assert {"sessions", "sign-ups", "uploads", "matches", "joined", "pushes printed"} <= view.series.keys()
        last = view.series["sign-ups"][-SMALL["days"] :]
        assert all(last) and not any(view.series["sign-ups"][: -SMALL["days"]])
        assert view.series["users"][-SMALL["days"] :] == sorted(view.series["users"][-SMALL["days"] :])
        assert len(view.refusals) >= 5
        assert view.waiting == 0
        assert sum(map(sum, activity.by_day(db, app, UNTIL, 30).values.values())) > 100


def test_what_people_choose_holds(databases, tmp_path):
    """Pushes are in the recipient's language; none comes in quiet hours; some come together; some name nobody."""
    history = History(UNTIL, **SMALL | {"joining": 60, "choosing": True})
    joins = {event.who: event.with_ for event in history.events if event.kind == "join"}
    owners = {token_of(who, device): who for who, known in joins.items() for device in known["devices"]}
    with databases.fresh("sqlite") as url:
        place = place_of(url, tmp_path)
        played = place.make(UNTIL, lambda done, total: None, history=history)
        with place.opened() as db:
            waiting = overview.of(db, place.found().app, UNTIL).waiting
    printed = played.printed.pushes
    pushes = [(owners[device], moment, text) for moment, device, text in map(joined_push, printed) if text]
    languages = {(joins[who]["wishes"].get("locale", ""), "dabei" in text) for who, _, text in pushes}
    assert languages == {("", False), ("de", True)}
    assert not [push for push in pushes if is_quiet(joins[push[0]]["wishes"], push[1])]
    assert any("contact_joined_digest" in line for line in printed)
    assert not any(joins[who]["wishes"].get("notify") is False for who, _, _ in pushes)
    assert waiting  # for the end of quiet hours
    assert not {who for who in named(printed, played) if joins[who]["wishes"].get("announce") == "nobody"}


def named(printed, played):
    """The persons about whom joined pushes were printed."""
    persons = {user: person for person, user in played.users.items()}
    ids = " ".join(re.findall(r'"user_ids?":\[?([\d,]+)', " ".join(printed))).replace(",", " ")
    return {persons[int(one)] for one in ids.split()}


def token_of(who, device):
    """The part of a push token that is printed."""
    return subscription(who, device)["push_token"]["client_identification_sequence"][:6]


def joined_push(line):
    """When a joined push was printed, for which device, and its text; "" for another push."""
    at, device, text = re.search(r"sent\): (\S+) \w+ (\w+)… \"(.*?)\" \{", line).groups()
    return datetime.fromisoformat(at), device, text if '"type":"contact_joined' in line else ""


def is_quiet(wishes, moment):
    """Is it a quiet hour of this person?"""
    if "quiet" not in wishes:
        return False
    clock, (start, end) = f"{moment.astimezone(ZoneInfo(wishes['time_zone'])):%H:%M}", wishes["quiet"].values()
    return start <= clock < end if start < end else clock >= start or clock < end


def test_the_demo_refuses_a_database_with_users_of_others(databases, tmp_path):
    with databases.fresh("sqlite") as url:
        app = application(url, "a real app")
        with opened(url) as db, db.write() as tx:
            users.add(tx, applications.get(db, app.application_id), columns({"login": "ann"}), UNTIL)
        place = place_of(url, tmp_path)
        with pytest.raises(Refused, match=r"has users of other applications: a real app.\nThe demo makes"):
            place.make(UNTIL, lambda done, total: None, history=History(UNTIL, **SMALL))
        with opened(url) as db:
            assert [one.name for one in applications.all_(db)] == ["a real app"]


def test_a_database_that_is_named_in_a_file_is_not_the_demos_own(tmp_path):
    (tmp_path / "address").write_text("sqlite:////nowhere/a.db")
    place = Place.of({"RINGBOOK_DATABASE_FILE": str(tmp_path / "address")}, tmp_path / "data")
    assert (place.folder, place.config.database) == (None, "sqlite:////nowhere/a.db")
    assert not (tmp_path / "data").exists()


def test_a_demo_that_was_made_meanwhile_stays(tmp_path):
    place = Place.of({}, tmp_path / "data")
    file = tmp_path / "data" / "demo.db"
    with pytest.raises(Refused, match="Another `make demo` has made"):
        place.make(UNTIL, lambda done, total: file.touch(), history=History(UNTIL, days=1, count=30, joining=10))
    assert [one.name for one in (tmp_path / "data").iterdir()] == ["demo.db"]


def test_what_was_not_finished_is_removed_and_nothing_else(databases, tmp_path):
    with databases.fresh("sqlite") as url:
        application(url, UNFINISHED)
        application(url, "another")
        place = place_of(url, tmp_path)
        assert place.state() is State.UNFINISHED
        place.remove()
        assert place.state() is State.NOTHING
        with opened(url) as db:
            assert [one.name for one in applications.all_(db)] == ["another"]


# ── the numbers ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_number_is_one_that_cannot_ring():
    history = History(UNTIL)
    entries = [entry for event in history.events for entry in event.with_.get("contacts", [])]
    numbered = [*history.people, *(entry for entry in entries if "reads" in entry)]
    assert len(numbered) > 10_000
    for each in numbered:
        american = re.fullmatch(r"\(\d{3}\) 555-01\d\d", each["phone"])
        number = phones.digits(phones.read(each["phone"], "US" if american else "GB"))
        assert FICTIONAL.fullmatch(number), each
        assert american or number == each["reads"], each
    for event in history.events:
        assert "phone" not in event.with_ or FICTIONAL.fullmatch(international(event.with_["phone"])), event


def test_no_number_hides_in_an_entry_that_should_be_refused():
    runs = {re.sub(r"\D", "", run) for _, typed, _ in JUNK for run in re.findall(r"\d[\d ]{9,}\d", typed or "")}
    assert runs
    for run in runs:
        assert FICTIONAL.fullmatch(phones.digits(phones.read(run, "GB"))), run


def test_the_same_time_gives_the_same_history_with_what_real_books_have():
    history, again = History(UNTIL, **SMALL), History(UNTIL, **SMALL)
    assert history.events == again.events
    entries = [entry for book in History(UNTIL).books.values() for entry in book]
    typed = " ".join(entry["phone"] or "" for entry in entries)
    names = " ".join(entry["name"] or "" for entry in entries)
    forms = ("+44 7700 9", "07700 900 ", "(202) 555-01", "(0)", "\u202a", "\u00a0", "*100#")
    assert all(form in typed for form in forms)
    assert all(mark in names for mark in ("❤", "\u200d", "م", "ל", "王", "\ud83d"))


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a small demo."""
    found = tmp_path_factory.mktemp("demo") / "data"
    made = demo(found, "--make-only", "--joining", "12")
    assert made.returncode == 0, made.stderr
    assert "Making 30 days" in made.stderr
    assert '"Your friend Annie joined."' in (found / "pushes.txt").read_text("utf-8")
    return found


def without_settings():
    return {name: value for name, value in environment("").items() if not name.startswith("RINGBOOK_")}


def command(folder, *options):
    return [sys.executable, str(ROOT / "demo"), "--folder", str(folder), *options]


def demo(folder, *options):
    return subprocess.run(
        command(folder, *options), env=without_settings(), capture_output=True, text=True, timeout=120, cwd=ROOT
    )


def test_make_passes_on_what_it_is_given():
    make = ["make", "--no-print-directory", "--dry-run", "demo", "PORT=9000", "HOST=0.0.0.0", "NEW=1"]
    lines = subprocess.run(make, capture_output=True, text=True, cwd=ROOT, check=True).stdout.splitlines()
    assert lines[-1] == ".venv/bin/python demo --port 9000 --host 0.0.0.0 --new"


def test_it_ends_with_a_server_and_fits_the_terminal(folder):
    port = free_port()
    with terminal(command(folder, "--port", str(port)), without_settings(), ROOT) as shown:
        screen = shown.read_until("demo.db\n").split("Making")[0].strip("\n").splitlines()
        assert len(screen) < LINES
        assert all(len(line) <= COLUMNS for line in screen if str(folder) not in line)
        password = re.search(rf"e-mail {ADMIN}, password (\S+)", shown.shown)[1]
        visitor = Visitor(None, port)
        assert visitor.post("/login", email=ADMIN, password=password).goes_to == "/dashboard"
        for page in re.findall(r"http://[\d.:]+/dashboard(/apps\S+)", shown.shown):
            assert visitor.get(page).status == 200, page
        assert "Bob Baker" in visitor.get("/apps/2/users/1").words
        again = demo(folder, "--port", str(port))
        assert (again.returncode, again.stderr) == (0, "")
        assert f"runs already at http://127.0.0.1:{port}." in again.stdout
        anew = demo(folder, "--port", str(port), "--new")
        assert anew.returncode == 1 and "Stop it with Ctrl+C in its terminal, then run this again" in anew.stderr
        shown.process.send_signal(signal.SIGINT)
        shown.read_until("Ringbook has stopped.")
        assert shown.process.wait(30) == 0


def test_it_is_made_anew_only_when_asked_also_when_this_version_cannot_open_it(folder):
    key = (folder / "demo.key").read_text()
    assert "Making" not in demo(folder, "--make-only").stderr
    (folder / "demo.db").write_bytes(b"SQLite format 3\0 and what is no database")
    refused = demo(folder, "--make-only")
    assert refused.returncode == 1 and refused.stderr.endswith("`make demo NEW=1` makes the demo anew.\n")
    assert (folder / "demo.key").read_text() == key
    assert demo(folder, "--make-only", "--new", "--joining", "12").returncode == 0
    assert (folder / "demo.key").read_text() != key


def test_an_interrupted_history_leaves_nothing(tmp_path):
    making = Terminal(command(tmp_path / "data", "--make-only"), without_settings(), ROOT)
    making.read_until("day  3 of 30")
    making.process.send_signal(signal.SIGINT)
    making.read_until("Interrupted: the next `make demo` makes the demo anew.")
    assert making.process.wait(30) == 130
    making.end()
    assert list((tmp_path / "data").iterdir()) == []
    assert Place.of({}, tmp_path / "data").state() is State.NOTHING


def test_bob_signs_in_with_the_password_that_is_shown(folder):
    found = Place.of({}, folder).found()
    with serve(f"sqlite:///{folder}/demo.db", folder, key_file=str(folder / "demo.key")) as server:
        user = {"login": "bob", "password": "bob-12345"}
        wanted = {"application_id": found.app.id, "auth_key": found.app.auth_key, "user": user}
        session = ask(server, "POST", "/session", wanted).json["session"]
        joined = ask(server, "GET", "/contact_joined", headers={"CB-Token": session["token"]}).json
    assert session["user_id"] == found.bob
    assert (joined["items"][0]["address_book_name"], joined["unseen"]) == ("Annie", 1)
    assert joined["items"][1]["seen"]


def test_a_port_that_is_taken_is_named(folder):
    with serve(f"sqlite:///{folder.parent}/other.db", folder.parent) as server:
        refused = demo(folder, "--port", str(server.port))
    assert refused.returncode == 1
    assert refused.stderr == f"Port {server.port} is in use: name another one, make demo PORT={server.port + 1}\n"
