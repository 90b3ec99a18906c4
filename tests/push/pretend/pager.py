"""A pretend push provider, as test_providers.py adds one: this file, with its row.

It prints the messages that it is given. Its credential is a setting that exists, because a test cannot declare one.
"""

from ringbook.push import tokens
from ringbook.push.providers import Channel, Provider
from ringbook.push.transport import Cause, Message, NotSetUp, Outcome, Receipt, SenderContext

ROW = Provider(
    key="pager",
    name="Pager",
    title="Pager: people on call",
    about="Get the credential from the pager company.",
    module="pager",
    channels={"pager": Channel(check=tokens.matching(r"page-[0-9]{4}"))},
    needed=("sms_twilio_from",),
    settings=("sms_twilio_from",),
    check_help="Calls the pager company.",
    correct="the pager company accepts the credential",
)


class Pager:
    """Prints messages."""

    async def send(self, message: Message, now: int) -> Receipt:
        """Print the text."""
        print(f"paged {message.token}: {message.payload['message']}", flush=True)
        return Receipt(Outcome.ACCEPTED, cause=Cause.ACCEPTED)

    async def check(self, now: int) -> str:
        """Nothing can be wrong."""
        return ""


def sender(app, context: SenderContext) -> Pager:
    """A sender, if the credential is set."""
    if not app.settings.sms_twilio_from:
        raise NotSetUp("sms_twilio_from is not set")
    return Pager()
