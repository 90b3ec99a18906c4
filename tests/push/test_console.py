"""The console: one line for each push, whatever it holds."""

import io
import json

import pytest
from push.listener import NOW, application, attempt, message

from ringbook.push import console
from ringbook.push.transport import Cause, Outcome, Receipt

ANN = {"message": "Your friend Zoë joined.", "user_id": 271, "type": "contact_joined"}
BEGIN = "DEVELOPMENT (push_console is on, nothing is sent): 2026-09-21T14:13:20Z"


def test_a_push_is_one_line_on_standard_output(capsys):
    app, private = application(push_console=True)
    push = message(ANN, channel="gcm", token="fGb7dE-a-whole-push-token")
    assert attempt(console.sender, app, private, push) == [
        Receipt(Outcome.ACCEPTED, "printed, not sent (push_console is on)", cause=Cause.PRINTED)
    ]
    assert capsys.readouterr().out == (
        f'{BEGIN} gcm fGb7dE… "Your friend Zoë joined."'
        ' {"message":"Your friend Zoë joined.","user_id":271,"type":"contact_joined"}\n'
    )


def test_an_event_for_a_backend_has_no_device_and_no_text():
    assert console.line(message({"id": "joined-12"}, channel="webhook", token=""), NOW) == (
        f'{BEGIN} webhook - "" {{"id":"joined-12"}}'
    )


@pytest.mark.parametrize(
    "text", ["two\nlines", "\x1b[2Jgone", "\x9b2J", "a\u2028b", "\u202egnp.exe", "tab\t", "\U000e0041"]
)
def test_a_text_neither_breaks_the_line_nor_moves_the_cursor(text):
    printed = console.line(message({"message": text}, channel="apns", token="0" * 64), NOW)
    assert printed.isprintable()
    assert json.loads(printed[printed.index("{") :]) == {"message": text}


def closed() -> io.StringIO:
    output = io.StringIO()
    output.close()
    return output


@pytest.mark.parametrize("output", [closed(), io.TextIOWrapper(io.BytesIO(), "ascii")])
def test_where_nothing_can_be_printed_it_is_tried_again_later(output, monkeypatch):
    app, private = application(push_console=True)
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", output)
        [receipt] = attempt(console.sender, app, private, message(ANN))
    assert receipt == Receipt(
        Outcome.LATER, "standard output does not take it (push_console is on)", cause=Cause.SERVER_ERROR
    )
