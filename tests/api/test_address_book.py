"""Address books over HTTP: many uploads at once lose and double nothing, and beyond a limit nothing is changed."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import msgspec
import pytest
from asking import Answer, Person, at_once, guest, line, lines, person, rows
from hypothesis import given
from hypothesis import strategies as st
from servers import DATABASES, Databases, Server, serve

from ringbook.api import address_book
from ringbook.model import Entry

AT_ONCE = 16
HOUR = 3600


@pytest.fixture(scope="module", params=DATABASES)
def strict(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server with small limits, behind a proxy, so that each test has addresses of its own."""
    folder = tmp_path_factory.mktemp("strict")
    few = {"permits": "20", "guest_permits": "5", "address_permits_per_day": "30", "max_books": "3"}
    few |= {"max_user_contacts": "50", "max_user_bytes": "7168"}
    with databases.fresh(request.param) as url, serve(url, folder, trusted_proxies="127.0.0.1", **few) as running:
        yield running


def sound(who: Person) -> dict[str, int]:
    """Each book's size, once it is known that the books are what they say: no contact lost, doubled or out of place."""
    counted = rows(
        who.server,
        "SELECT b.device, b.size, b.next_seq, count(c.number) AS contacts, count(DISTINCT c.seq) AS places,"
        " max(c.seq) AS last FROM books AS b LEFT JOIN contacts AS c ON c.owner_id = b.owner_id AND c.book = b.book"
        " WHERE b.owner_id = :id GROUP BY b.device, b.size, b.next_seq",
        id=who.id,
    )
    for row in counted:
        assert row["size"] == row["contacts"] == row["places"], row
        assert (row["last"] or 0) < row["next_seq"], row
    (stray,) = rows(
        who.server,
        "SELECT count(*) AS n FROM contacts AS c WHERE c.owner_id = :id AND NOT EXISTS"
        " (SELECT 1 FROM books AS b WHERE b.owner_id = c.owner_id AND b.book = c.book)",
        id=who.id,
    )
    assert stray["n"] == 0
    totals = rows(who.server, "SELECT contacts FROM totals WHERE owner_id = :id", id=who.id)
    assert sum(row["contacts"] for row in totals) == sum(row["size"] for row in counted)
    return {row["device"]: row["size"] for row in counted}


def counts(answers: list[Answer]) -> tuple[int, int, int]:
    """What the uploads, all answered, say they did together."""
    assert {answer.status for answer in answers} == {200}, answers
    reports = [answer.json for answer in answers]
    assert all(report["rejected"] == {} for report in reports)
    return tuple(sum(report[name] for report in reports) for name in ("created", "updated", "deleted"))  # type: ignore[return-value]


# ── many at once ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_different_contacts_at_once_all_arrive(server):
    who = person(server)
    answers = at_once([partial(who.upload, lines(n * 50, 50)) for n in range(AT_ONCE)])
    assert counts(answers) == (AT_ONCE * 50, 0, 0)
    assert sound(who) == {"": AT_ONCE * 50}
    assert sorted(phone for phone, _ in who.book()) == sorted(one["phone"] for one in lines(0, AT_ONCE * 50))


def test_overlapping_contacts_at_once_are_created_once_each(server):
    who = person(server)
    answers = at_once([partial(who.upload, lines(n * 10, 50, f"by {n}")) for n in range(AT_ONCE)])
    different = AT_ONCE * 10 + 40
    assert counts(answers) == (different, AT_ONCE * 50 - different, 0)
    assert sound(who) == {"": different}
    book = who.book()
    assert len(book) == len({phone for phone, _ in book}) == different


def test_the_same_contacts_at_once_in_different_orders_do_not_lock_each_other_out(server):
    who = person(server)
    contacts = lines(0, 200)
    answers = at_once([partial(who.upload, contacts[:: 1 if n % 2 else -1]) for n in range(AT_ONCE)])
    assert counts(answers) == (200, (AT_ONCE - 1) * 200, 0)
    assert sound(who) == {"": 200}


def test_whole_books_and_changes_at_once_leave_a_sound_book(server):
    """Whatever came last, the book is one that some order of the uploads makes."""
    who = person(server)
    who.upload(lines(0, 100))
    # Each holds contact 800, which no change deletes: all but the first of them update it, in whatever order.
    books = [[*lines(n * 20, 60, f"whole {n}"), line(800, f"whole {n}")] for n in range(AT_ONCE // 2)]
    whole = [partial(who.upload, book, force=1) for book in books]
    changes = [partial(who.upload, [*lines(900 + n, 1), {**line(n), "destroy": 1}]) for n in range(AT_ONCE // 2)]
    created, updated, deleted = counts(at_once([*whole, *changes]))
    size = sound(who)[""]
    assert 100 + created - deleted == size
    assert updated >= len(whole) - 1
    names = {name for _, name in who.book() if name.startswith("whole")}
    assert len(names) == 1, "a forced upload leaves nothing of the one before"


def test_first_uploads_of_devices_at_once_make_a_book_each(server):
    for _ in range(3):
        who = person(server)
        answers = at_once([partial(who.upload, lines(0, 20), udid=f"device-{n % 4}") for n in range(8)])
        assert counts(answers) == (4 * 20, 4 * 20, 0)
        assert sound(who) == {"": 0} | {f"device-{n}": 20 for n in range(4)}


def test_emptying_and_filling_a_devices_book_at_once_is_sound(server):
    who = person(server)
    who.upload(lines(0, 10), udid="phone")
    for _ in range(3):
        calls = [partial(who.upload, [] if n % 2 else lines(0, 10), udid="phone", force=1) for n in range(8)]
        created, _, deleted = counts(at_once(calls))
        assert (created - deleted) in (-10, 0, 10)
        assert sound(who).get("phone", 0) in (0, 10)


def test_books_of_many_people_at_once_do_not_touch(server):
    people = [person(server) for _ in range(4)]
    calls = [partial(people[n % 4].upload, lines(n * 25, 25)) for n in range(AT_ONCE)]
    assert counts(at_once(calls)) == (AT_ONCE * 25, 0, 0)
    assert [sound(who) for who in people] == [{"": 100}] * 4


def test_reading_while_uploading_shows_a_whole_book(server):
    """A forced upload is one transaction: nobody sees half of it."""
    who = person(server)
    who.upload(lines(0, 300, "even"), force=1)
    done = threading.Event()

    def read() -> list[set[str]]:
        seen = []
        while not done.is_set():
            seen.append({name for _, name in who.book()})
        return seen

    with ThreadPoolExecutor(3) as threads:
        readers = [threads.submit(read) for _ in range(3)]
        for n in range(10):
            assert who.upload(lines(0 if n % 2 else 150, 300, "even" if n % 2 else "odd"), force=1).status == 200
        done.set()
    seen = [names for reader in readers for names in reader.result()]
    assert len(seen) > 5
    assert all(len(names) == 1 for names in seen)


def test_deleting_oneself_during_uploads_leaves_nothing_behind(server):
    """An upload that comes too late hears that its session is gone, and no row of the user stays."""
    statuses = set()
    for _ in range(3):
        who = person(server, phone="12025550199")
        who.upload(lines(0, 20), udid="phone")
        uploads = [partial(who.upload, lines(n * 10, 30), udid="phone" if n % 2 else "") for n in range(10)]
        leave = partial(who.ask, "DELETE", f"/users/{who.id}")
        *late, left = at_once([*uploads, leave])
        assert left.status == 200
        statuses |= {answer.status for answer in late}
        remains = {
            table: rows(server, f"SELECT * FROM {table} WHERE {column} = :id", id=who.id) for table, column in OF_A_USER
        }
        assert remains == {table: [] for table, _ in OF_A_USER}
    assert statuses <= {200, 401}


OF_A_USER = [
    ("users", "id"),
    ("numbers", "user_id"),
    ("tags", "user_id"),
    ("sessions", "user_id"),
    ("books", "owner_id"),
    ("totals", "owner_id"),
    ("contacts", "owner_id"),
    ("removed", "owner_id"),
    ("subscriptions", "user_id"),
]


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def refused(answer: Answer, status: int) -> Answer:
    """A refusal of the documented shape; a 429 says how long to wait."""
    assert answer.status == status, answer
    assert answer.json["errors"]
    assert (int(answer.headers["Retry-After"]) > 0) if status == 429 else answer.headers["Retry-After"] is None
    return answer


def test_beyond_a_users_permits_nothing_is_changed(strict):
    who = person(strict, address="198.51.100.1")
    who.upload(lines(0, 15))
    answer = refused(who.upload([line(0, "renamed"), *lines(15, 6)], force=1), 429)
    assert answer.headers["Retry-After"] == str(HOUR // 6)
    assert who.book() == [(one["phone"], "x") for one in lines(0, 15)]
    assert who.upload(lines(15, 5)).json["created"] == 5
    refused(who.upload(lines(20, 1)), 429)
    assert who.upload(lines(0, 20, "renamed")).json["updated"] == 20
    assert sound(who) == {"": 20}


def test_beyond_a_users_contacts_or_bytes_over_all_books_nothing_is_changed(strict):
    who = person(strict, address="198.51.100.77")
    for udid in ("one", "two"):
        assert who.upload(lines(0, 20), udid=udid).status == 200
    answer = refused(who.upload(lines(0, 11)), 422)
    assert answer.json == {"errors": {"contacts": ["would make more than 50 contacts in all of the user's books"]}}
    assert who.upload(lines(0, 10)).json["created"] == 10
    long = [line(n, "\N{GRINNING FACE}" * 255) for n in range(2)]
    assert who.upload(long[:1], udid="one").json["updated"] == 1
    answer = refused(who.upload(long, udid="two", force=1), 422)
    reason = "would make more than 7168 bytes of stored contacts in all of the user's books"
    assert answer.json == {"errors": {"contacts": [reason]}}
    assert sound(who) == {"": 10, "one": 20, "two": 20}


def test_a_guest_has_few_permits(strict):
    who = guest(strict, address="198.51.100.2")
    refused(who.upload(lines(0, 6)), 429)
    assert who.upload(lines(0, 5)).status == 200
    refused(who.upload(lines(5, 1)), 429)


def test_an_address_has_permits_too(strict):
    here = "198.51.100.3"
    first, second = person(strict, address=here), person(strict, address=here)
    assert first.upload(lines(0, 20)).status == 200
    refused(second.upload(lines(0, 11)), 429)
    assert second.book() == []
    assert second.upload(lines(0, 10)).status == 200
    elsewhere = person(strict, address="198.51.100.4")
    assert elsewhere.upload(lines(0, 20)).status == 200


def test_a_64_of_ipv6_is_one_address(strict):
    first, second = person(strict, address="2001:db8::1"), person(strict, address="2001:db8::ffff:2")
    assert first.upload(lines(0, 20)).status == 200
    refused(second.upload(lines(0, 11)), 429)
    assert person(strict, address="2001:db8:0:1::1").upload(lines(0, 11)).status == 200


def test_removed_and_added_back_costs_nothing_and_neither_does_another_device(strict):
    who = person(strict, address="198.51.100.5")
    assert who.upload(lines(0, 20)).status == 200
    for _ in range(3):
        assert who.upload([], force=1).json["deleted"] == 20
        assert who.upload(lines(0, 20)).json["created"] == 20
    assert who.upload(lines(0, 20), udid="tablet").json["created"] == 20
    refused(who.upload(lines(20, 1), udid="tablet"), 429)


def test_asking_by_upload_costs_the_same_whether_or_not_somebody_is_there(strict):
    person(strict, address="198.51.100.6", phone=line(500)["phone"])
    hit, miss = (person(strict, address=f"198.51.100.{n}") for n in (7, 8))
    for who, n in ((hit, 500), (miss, 600)):
        assert who.upload([line(n)]).json["created"] == 1
        assert who.upload(lines(0, 19)).status == 200
        refused(who.upload(lines(19, 1)), 429)
    found = hit.ask("GET", "/address_book/registered_users?compact=1").json["items"]
    assert [item["user"]["phone"] for item in found] == [line(500)["phone"]]


def test_looking_people_up_draws_on_the_same_permits(strict):
    who = person(strict, address="198.51.100.9")
    assert who.upload(lines(0, 18)).status == 200
    assert who.ask("GET", f"/users/phone?phone={line(700)['phone']}").status == 404
    assert who.ask("GET", "/users/by_email?email=nobody@example.org").status == 404
    refused(who.ask("GET", f"/users/v2?phone={line(701)['phone']}"), 429)
    assert who.ask("GET", f"/users/phone?phone={line(0)['phone']}").status == 404


def test_many_at_once_get_no_more_than_the_permits(strict):
    who = person(strict, address="198.51.100.10")
    answers = at_once([partial(who.upload, lines(n * 3, 3)) for n in range(12)])
    taken = [answer for answer in answers if answer.status == 200]
    assert len(taken) == 6
    assert {answer.status for answer in answers} == {200, 429}
    assert sound(who) == {"": 18}


def test_one_device_too_many_is_refused(strict):
    who = person(strict, address="198.51.100.11")
    for udid in ("a", "b"):
        assert who.upload(lines(0, 2), udid=udid).status == 200
    assert "udid" in refused(who.upload(lines(0, 2), udid="c"), 422).json["errors"]
    assert who.book("c") == []
    assert who.upload([], udid="a", force=1).status == 200
    assert who.upload(lines(0, 2), udid="c").status == 200


def test_more_than_50_000_contacts_are_refused_and_nothing_is_changed(server):
    """One upload may hold 50,000, and so may a book."""
    who = person(server)
    many = [{"phone": str(99900000000 + n), "name": "x"} for n in range(50_001)]
    assert "contacts" in refused(who.upload(many), 422).json["errors"]
    assert sound(who) == {}
    assert who.upload(many[1:]).json["created"] == 50_000
    assert "contacts" in refused(who.upload(many[:1]), 422).json["errors"]
    assert sound(who) == {"": 50_000}


def test_a_device_whose_name_is_too_long_is_refused_by_the_name_of_the_field(server):
    refused = person(server).upload(lines(0, 1), udid="x" * 65)
    assert refused.status == 422 and list(refused.json["errors"]) == ["udid"]


FLAGS = [0, 1, 2, -1, 1.0, True, False, None, "1", "true", "", [], {}]
FIELDS = {
    "phone": st.sampled_from(["+1 202 555 0142", "12025550142", "", "a\0b", "\ud83d", 12025550142, None, [], True]),
    "name": st.sampled_from(["Ann", "", "\\", '"', "नेहा 🏡", "a\0b", "\ud83d", None, 7, {}]),
    "destroy": st.sampled_from(FLAGS),
    "other": st.sampled_from(["{", "a\0b", None, [[]], {"phone": "1"}]),
}


def told(entry: Entry | None) -> tuple[str, str | None, bool] | None:
    return entry and (entry.phone, entry.name, bool(entry.destroy))


@given(st.lists(st.fixed_dictionaries({}, optional=FIELDS), max_size=4), st.booleans())
def test_a_body_that_can_be_decoded_at_once_has_the_entries_that_are_decoded_one_by_one(contacts, ascii_only):
    text = json.dumps({"force": 1, "contacts": contacts, "udid": None}, ensure_ascii=ascii_only)
    whole = address_book.at_once(text.encode("utf-8", "surrogatepass"), 50_000)
    alone = [address_book.entry(msgspec.Raw(json.dumps(one).encode())) for one in contacts]
    assert whole is None or [told(one) for one in whole.contacts] == [told(one) for one in alone]
    assert whole is not None or None in alone or "\\u0000" in json.dumps(contacts) or not spelled_usually(contacts)


def spelled_usually(contacts: list[dict[str, object]]) -> bool:
    """As the SDKs write them: phones as texts, and `destroy` as a number or a boolean."""
    usual = ("phone" not in one or isinstance(one["phone"], str) for one in contacts)
    return all(usual) and all(type(one.get("destroy")) in (int, bool, type(None)) for one in contacts)


@pytest.mark.parametrize(("count", "is_decoded"), [(3, True), (4, False), (50, False)])
def test_a_body_with_more_entries_than_the_limit_is_not_decoded_at_once(count, is_decoded):
    body = b'{"contacts":[' + b",".join([b'{"phone":""}'] * count) + b"]}"
    assert (address_book.at_once(body, 3) is not None) == is_decoded
