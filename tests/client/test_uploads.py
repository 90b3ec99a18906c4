"""Uploads in parts, and whole address books in one request."""

import pytest
from ringbook_client import Contact, Rejected, Removal, Report, errors
from ringbook_client.retries import drive
from ringbook_client.uploads import upload

ENTRIES = [Contact(f"n{n}", f"1202555{n:04}") for n in range(25)]


def sizes_and_report(entries, server, **options):
    sizes = []

    def perform(call):
        sizes.append(len(call.request.body["contacts"]))
        return server(len(sizes), call)

    return sizes, drive(upload(entries, **options), perform)


def all_new(turn, call):
    return Report(created=len(call.request.body["contacts"]))


def test_additions_are_sent_in_parts_and_the_reports_are_combined():
    progress_calls = []
    sizes, report = sizes_and_report(ENTRIES, all_new, part=10, progress=lambda *at: progress_calls.append(at))
    assert sizes == [10, 10, 5] and report == Report(created=25)
    assert progress_calls == [(0, 25), (10, 25), (20, 25), (25, 25)]


def test_a_whole_book_is_one_request():
    progress_calls = []
    sizes, _ = sizes_and_report(ENTRIES, all_new, force=True, part=10, progress=lambda *at: progress_calls.append(at))
    assert sizes == [25] and progress_calls == [(0, 25), (25, 25)]


@pytest.mark.parametrize("force", [False, True])
def test_an_empty_upload_is_one_request(force):
    assert sizes_and_report([], all_new, force=force)[0] == [0]


def test_positions_of_rejected_entries_count_over_all_parts():
    def last_is_bad(turn, call):
        count = len(call.request.body["contacts"])
        return Report(created=count - 1, rejected=(Rejected(Contact("bad", "1"), count - 1, ("why",)),))

    _, report = sizes_and_report(ENTRIES, last_is_bad, part=10)
    assert [one.position for one in report.rejected] == [9, 19, 24] and report.created == 22


def test_the_exception_of_a_failed_part_has_the_report_on_the_parts_before_it():
    def fails_third(turn, call):
        if turn == 3:
            raise errors.TimedOut("too late")
        return all_new(turn, call)

    with pytest.raises(errors.TimedOut) as caught:
        sizes_and_report([*ENTRIES, Removal("12025550100")], fails_third, part=10)
    assert caught.value.applied == Report(created=20)


def test_the_exception_of_a_failed_first_part_has_no_report():
    def fails(turn, call):
        raise errors.Invalid(422, {"contacts": ["too many"]})

    with pytest.raises(errors.Invalid) as caught:
        sizes_and_report(ENTRIES, fails, part=10)
    assert caught.value.applied is None
