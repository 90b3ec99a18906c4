"""What parent and child send each other: one JSON value a line.

ReportRequest, Report   the parent asks a child for its metrics; the child answers
Question, Sum           a child asks for the text of /metrics; the parent answers
from_child, from_parent decode the messages of one direction
"""

import msgspec

from .values import Family


class ReportRequest(msgspec.Struct, tag="report request"):
    """Parent to child: send a report."""


class Report(msgspec.Struct, tag="report"):
    """Child to parent: its metrics."""

    families: list[Family]


class Question(msgspec.Struct, tag="question"):
    """Child to parent: request for the sum. A child sends the next one only after the answer."""


class Sum(msgspec.Struct, tag="sum"):
    """Parent to child: the text of /metrics, as the answer to a question."""

    text: str


from_child = msgspec.json.Decoder(Report | Question)
from_parent = msgspec.json.Decoder(ReportRequest | Sum)
