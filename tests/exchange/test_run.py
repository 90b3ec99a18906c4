"""Refusals in the log."""

from ringbook.exchange.run import LOG_SECONDS, Refusals


def test_refusals_by_a_limit_get_one_line_in_ten_seconds_which_says_how_many_there_were():
    refusals = Refusals()
    lines = [refusals.log_now("turn_seconds", 100 + n / 1_000) for n in range(1_000)]
    assert lines == [1] + [0] * 999
    assert refusals.log_now("max_waiting_requests", 101) == 1
    assert refusals.log_now("turn_seconds", 100 + LOG_SECONDS) == 1_000
    assert refusals.log_now("turn_seconds", 200) == 1


def test_a_refusal_by_no_limit_such_as_a_database_that_is_away_always_gets_a_line():
    refusals = Refusals()
    assert [refusals.log_now("", 100) for _ in range(3)] == [1, 1, 1]
