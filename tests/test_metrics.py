"""The words that figures of pushes carry: few, and nobody else's."""

import pytest

from ringbook import metrics


@pytest.mark.parametrize(
    "reason, words",
    [
        ("BadDeviceToken (400)", "BadDeviceToken (400)"),
        ("TopicDisallowed (400): apns_topic must be the bundle id", "TopicDisallowed (400)"),
        ("THIRD_PARTY_AUTH_ERROR (401): set apns_key in Firebase", "THIRD_PARTY_AUTH_ERROR (401)"),
        ("the push service does not take it (400 VapidPkHashMismatch)", "the push service does not take it (400)"),
        ("push.example.net does not answer (Connection refused)", "a host does not answer"),
        ("push.example.net did not answer a moment ago", "a host did not answer"),
        ("no access token: oauth2.example.com does not answer (timed out)", "a host does not answer"),
        (
            "10.0.0.1 is on a private network (RINGBOOK_ALLOW_PRIVATE_ADDRESSES allows it)",
            "a host is on a private network",
        ),
        (
            "the port is not allowed: 8443 is neither 443 nor in RINGBOOK_OUTGOING_PORTS",
            "the port is not allowed",
        ),
        ("apns_key_id is not set: ringbook app set 3 apns_key_id …", "apns_key_id is not set"),
        ("it took too long", "it took too long"),
        ("x" * 500, "x" * 80),
        ("", ""),
    ],
)
def test_a_reason_in_short_names_no_host_no_application_and_no_advice(reason, words):
    assert metrics.short(reason) == words


def test_failures_are_counted_by_reason_and_what_was_accepted_is_none():
    def failed(outcome, words):
        return metrics.FAILURES.labels("apns", outcome, words)._value.get()

    before = failed("parked", "BadTopic (400)")
    metrics.pushed("apns", "parked", "BadTopic (400): see apns_topic")
    metrics.pushed("apns", "accepted", "")
    assert failed("parked", "BadTopic (400)") == before + 1
    assert "accepted" not in {labels[1] for labels in metrics.FAILURES._metrics}


def test_whoever_invents_reasons_gets_no_more_figures_than_there_is_room_for():
    for n in range(3 * metrics.MOST_REASONS):
        metrics.pushed("web", "again", f"reason {n}")
    assert len({labels[2] for labels in metrics.FAILURES._metrics}) <= metrics.MOST_REASONS + 1
    assert metrics.FAILURES.labels("web", "again", metrics.OTHER)._value.get() >= 2 * metrics.MOST_REASONS
