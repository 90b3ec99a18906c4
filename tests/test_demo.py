"""The demo, played against a real server, must produce the totals that its world expects."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from servers import environment, free_port, ringbook, serve

from ringbook import phone

DEMO = Path(__file__).parent.parent / "demo"
WORLD = json.loads((DEMO / "world.json").read_text(encoding="utf-8"))
ENTRIES = [entry for part in (WORLD["books"], WORLD["day"]) for each in part for entry in each.get("contacts", [])]
NUMBERS = [each for each in WORLD["people"] + WORLD["day"] + ENTRIES if "reads" in each]

COUNTS = ("sent", "created", "updated", "deleted", "refused")

# What countries keep for fiction, in international digits; demo/README.md names who says so.
FICTIONAL = re.compile(
    r"447700900\d{3}|442079460\d{3}|44113496\d{4}|44117496\d{4}|442890180\d{3}|441632960\d{3}|448081570\d{3}"
    r"|1[2-9]\d\d55501\d\d|4917139200\d\d|3363998\d{4}|3532091\d{5}|467017406(?:0[5-9]|[1-9]\d)"
    r"|61491570(?:006|110|156|157|158|159|313|737)"
)


def play(url, database_url, *options):
    return subprocess.run(
        [sys.executable, DEMO / "play.py", "--endpoint", url, *options],
        env=environment(database_url) | {"COLUMNS": "120", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=150,
    )


class Model:
    """The expected results of the day: books as dictionaries, friends by equal numbers."""

    def __init__(self):
        self.books, self.numbers, self.uploads, self.refused = {}, {}, {}, Counter()

    def sign_up(self, when):
        self.numbers |= {person["id"]: person["reads"] for person in WORLD["people"] if person["joins"] == when}

    def upload(self, kind, owner, contacts, *, device="", force=False):
        book, counts, kept = self.books.setdefault((owner, device), {}), self.uploads.setdefault(kind, Counter()), set()
        for entry in contacts:
            word = self.applied(book, entry)
            counts.update({"sent": 1, word: 1})
            kept |= {entry["reads"]} if word in ("created", "updated") else set()
        for number in set(book) - kept if force and kept else ():
            counts["deleted"] += book.pop(number)

    def applied(self, book, entry):
        if "refused" in entry:
            self.refused[entry["refused"]] += 1
            return "refused"
        if entry.get("destroy"):
            return "deleted" if book.pop(entry["reads"], 0) else "ignored"
        known = entry["reads"] in book
        book[entry["reads"]] = 1
        return "updated" if known else "created"

    def found(self):
        return {
            (owner, friend)
            for (owner, _), book in self.books.items()
            for friend, number in self.numbers.items()
            if number in book and friend != owner
        }

    def all_upload(self, kind, when):
        self.sign_up(when)
        for book in WORLD["books"]:
            if WORLD["people"][book["owner"] - 1]["joins"] == when:
                self.upload(kind, book["owner"], book["contacts"], device=book["device"], force=True)
        return self.found()

    def live(self):
        for event in WORLD["day"]:
            if "contacts" in event:
                self.upload("changes", event["who"], event["contacts"], force=event["force"])
            else:
                self.numbers[event["who"]] = event["reads"]
        return self.found()


@pytest.fixture(scope="module")
def server(databases, tmp_path_factory):
    """The demo has no SQL of its own, so one database is enough."""
    with databases.fresh("sqlite") as url, serve(url, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def played(server):
    """The demo, played once for all tests."""
    return play(server.url, server.database_url, "--json")


def test_the_day_comes_to_what_its_world_foresees(played):
    model = Model()
    morning = model.all_upload("first upload", "morning")
    model.all_upload("the same again", "morning")
    afternoon, evening = model.live(), model.all_upload("newcomers", "evening")
    came = [person["id"] for person in WORLD["people"] if person["joins"] == "evening"]

    assert played.returncode == 0, played.stderr
    totals = json.loads(played.stdout)
    expected = {kind: {name: counts[name] for name in COUNTS} for kind, counts in model.uploads.items()}
    assert totals["uploads"] == expected
    assert totals["refused"] == dict(model.refused)
    assert totals["stored"] == sum(map(len, model.books.values()))
    assert totals["found"] == {"morning": len(morning), "afternoon": len(afternoon), "evening": len(evening)}
    assert totals["newcomers"] == {str(who): sum(friend == who for _, friend in evening) for who in came}


def test_a_person_reads_tables_with_masked_numbers(played):
    for title in ("What was stored", "What was refused, and why", "Who found whom", "Who came in the evening"):
        assert title in played.stderr
    assert "'Ann & Bob': ••••• ••• ••• / ••••• ••• •02" in played.stderr


def test_it_ends_with_the_command_that_deletes_it(played, server):
    number = re.search(r"ringbook app delete (\d+)\n", played.stderr)[1]
    assert number == str(json.loads(played.stdout)["application_id"])
    ringbook("app", "delete", number, "--yes", database_url=server.database_url)


def test_without_a_server_it_says_how_to_start_one(tmp_path):
    played = play(f"http://127.0.0.1:{free_port()}", f"sqlite:///{tmp_path}/none.db")
    assert played.returncode == 1
    assert "No server answers" in played.stderr and "make serve" in played.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("endpoint", ["127.0.0.1:8080", "http://127.0.0.1:port", "http://", "ftp://127.0.0.1"])
def test_an_address_that_is_none_is_shown_what_one_looks_like(endpoint, tmp_path):
    played = play(endpoint, f"sqlite:///{tmp_path}/none.db")
    assert played.returncode == 1
    assert played.stderr == f"{endpoint} is not an address of a server; one looks like http://127.0.0.1:8080\n"


def test_another_server_is_not_mistaken_for_ringbook(tmp_path):
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        played = play(f"http://127.0.0.1:{other.server_port}", f"sqlite:///{tmp_path}/none.db")
        other.shutdown()
    assert played.returncode == 1
    assert "is not Ringbook" in played.stderr


def test_a_server_on_another_database_is_named_as_the_reason(server, tmp_path):
    played = play(server.url, f"sqlite:///{tmp_path}/another.db")
    assert played.returncode == 1
    assert "it uses another database" in played.stderr and "ringbook app delete" in played.stderr


def test_every_number_in_the_world_is_one_that_cannot_ring():
    assert len(NUMBERS) > 1500
    for each in NUMBERS:
        american = re.fullmatch(r"\(\d{3}\) 555-01\d\d", each["phone"])
        number = phone.digits(phone.read(each["phone"], "US" if american else "GB"))
        assert FICTIONAL.fullmatch(number), each
        assert american or number == each["reads"], each


def test_no_number_hides_in_an_entry_that_should_be_refused():
    refused = [entry["phone"] or "" for entry in ENTRIES if "refused" in entry]
    runs = {re.sub(r"\D", "", run) for phone_typed in refused for run in re.findall(r"\d[\d ]{9,}\d", phone_typed)}
    assert runs
    for run in runs:
        assert FICTIONAL.fullmatch(phone.digits(phone.read(run, "GB"))), run


def test_the_world_is_what_its_maker_makes():
    program = "import make_world; import sys; sys.stdout.buffer.write(make_world.text(make_world.World()).encode())"
    made = subprocess.run([sys.executable, "-B", "-c", program], cwd=DEMO, capture_output=True, check=True)
    assert made.stdout == (DEMO / "world.json").read_bytes()


def test_the_world_has_what_real_books_have():
    typed = " ".join(entry["phone"] or "" for entry in ENTRIES)
    names = " ".join(entry["name"] or "" for entry in ENTRIES)
    assert all(
        form in typed for form in ("+44 7700 9", "07700 900 ", "(202) 555-01", "(0)", "\u202a", "\u00a0", "*100#")
    )
    assert all(mark in names for mark in ("❤", "\u200d", "م", "ל", "王", "\ud83d"))
    assert any(book["device"] for book in WORLD["books"])
