"""The metrics of pushes have causes as labels: a fixed list that contains no text of providers or users."""

import re

from ringbook import metrics
from ringbook.push.transport import Cause


def test_failures_are_counted_by_cause_and_accepted_attempts_are_not():
    def failed(cause):
        return metrics.FAILURES.labels("apns", "parked", cause.value)._value.get()

    before = failed(Cause.WRONG_APPLICATION)
    metrics.pushed("apns", "parked", Cause.WRONG_APPLICATION.value)
    metrics.pushed("apns", "accepted", Cause.ACCEPTED.value)
    assert failed(Cause.WRONG_APPLICATION) == before + 1
    assert "accepted" not in {labels[1] for labels in metrics.FAILURES._metrics}


def test_causes_are_labels_that_need_no_quotes():
    assert all(re.fullmatch("[a-z ]+", cause.value) for cause in Cause)
