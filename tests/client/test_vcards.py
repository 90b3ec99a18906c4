"""vCards with the deviations that programs write, and a comparison with vobject on well-formed cards."""

import re
import textwrap

import pytest
import vobject
from hypothesis import given, settings
from hypothesis import strategies as st
from ringbook_client import vcards
from ringbook_client.errors import Unreadable
from ringbook_client.reading import Problem

ANN = "+12025550150"


def cards(*bodies: str) -> bytes:
    """Complete cards with these properties."""
    return b"".join(f"BEGIN:VCARD\r\nVERSION:3.0\r\n{body}\r\nEND:VCARD\r\n".encode() for body in bodies)


def read(raw: bytes) -> list[tuple[str, str]]:
    """(name, number) of each contact of a file without problems."""
    reading = vcards.read_vcards(raw)
    assert reading.problems == ()
    return [(contact.name, contact.phone) for contact in reading.contacts]


@pytest.mark.parametrize("lines, name", [
    ("FN:Ann Example\r\nN:Other;Name;;;", "Ann Example"),
    ("FN: \r\nN:Example;Ann;Bea,Cara;Dr.;M.D.", "Dr. Ann Bea Cara Example M.D."),
    ("N:Example;Ann", "Ann Example"),
    ("N:;;;;\r\nORG:Example;Sales;", "Example, Sales"),
    ("FN:\r\nNICKNAME:Annie,An", "Annie"),
    ("ORG:;\r\nNICKNAME:\\,", ","),
    ("EMAIL:ann@example.com", ANN),
    ("FN:Example\\, Ann\\; \\\\ friend\\nof Bob", "Example, Ann; \\ friend of Bob"),
    ("N:Exa\\;mple\\\\;Ann", "Ann Exa;mple\\"),
    ("N;ENCODING=QUOTED-PRINTABLE:Exa=3Bmple;Ann=20Bea", "Ann Bea Exa;mple"),
    ("FN;LANGUAGE=en:Ann\r\nFN;LANGUAGE=ru:\u0410\u043d\u043d\u0430", "Ann"),
    ("fn:Ann", "Ann"),
    ("X.item1.FN:Ann", "Ann"),
    ("FN ;X=\"a:b;c\":Ann", "Ann"),
    ("FN;X=\"never closed:Ann", "Ann"),
    ("NOTE:FN:Bob\r\nFN:Ann", "Ann"),
    ("FN:Ann", "Ann"),
])  # fmt: skip
def test_the_name_is_fn_or_n_or_the_organisation_or_a_nickname_or_the_number(lines: str, name: str) -> None:
    assert read(cards(f"{lines}\r\nTEL:{ANN}")) == [(name, ANN)]


@pytest.mark.parametrize("line, number", [
    ("TEL:+1 (202) 555-0150", "+1 (202) 555-0150"),
    ("TEL;TYPE=cell;VALUE=uri:tel:+1-202-555-0150;ext=7", "+1-202-555-0150"),
    ("TEL;VALUE=uri:tel:02025550150;phone-context=+1", "02025550150"),
    ("TEL:tel:+12025550150", "+12025550150"),
    ("TEL:+1 202 555 0150 ext. 12", "+1 202 555 0150"),
    ("TEL:(202) 555-0150 x12", "(202) 555-0150"),
    ("TEL:+12025550150\\,\\,12#", "+12025550150"),
    ("TEL:+12025550150p12", "+12025550150"),
    ("TEL:1-800-FLOWERS-X", "1-800-FLOWERS-X"),
    ("TEL:*100#", "*100#"),
    ("TEL:12", "12"),
    ("TEL:123456789012345678901234567890", "123456789012345678901234567890"),
    ("TEL;ENCODING=QUOTED-PRINTABLE:=2B12025550150", "+12025550150"),
    ("TEL;CELL;PREF:+12025550150", "+12025550150"),
    ("item1.tel;type=pref:\u202a+12025550150\u202c", "\u202a+12025550150\u202c"),
])  # fmt: skip
def test_numbers_keep_their_spelling_without_the_extension(line: str, number: str) -> None:
    assert read(cards(f"FN:Ann\r\n{line}")) == [("Ann", number)]


def test_each_number_of_a_card_is_one_contact() -> None:
    raw = cards(
        f"FN:Ann\r\nTEL:{ANN}\r\nTEL;TYPE=WORK:+1 (202) 555-0150\r\nTEL:+12025550151\r\nTEL:",
        f"FN:Bob\r\nTEL:{ANN}",
        "FN:Nobody\r\nEMAIL:nobody@example.com",
        f"FN:Ann\r\nTEL:{ANN}",
    )
    assert read(raw) == [("Ann", ANN), ("Ann", "+12025550151"), ("Bob", ANN)]


def test_folded_lines_and_soft_line_breaks_are_joined() -> None:
    folded = "FN:Zoë".encode()[:-1] + b"\r\n " + "ë".encode()[1:] + b" Example"
    assert read(b"BEGIN:VCARD\n" + folded + b"\nTEL:" + ANN.encode() + b"\nEND:VCARD") == [("Zoë Example", ANN)]
    soft = "FN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:Ann=\r\n Bea=20=\r\nCara=\t\r\n=\r\n=C3=A9"
    assert read(cards(f"{soft}\r\nTEL:{ANN}")) == [("Ann Bea Caraé", ANN)]
    dangling = "FN;QUOTED-PRINTABLE:Ann="
    assert read(cards(f"{dangling}\r\nTEL:{ANN}")) == [("Ann", ANN)]


def test_pictures_are_skipped_however_they_are_folded() -> None:
    picture = "/9j/4AAQSkZJRgABAQAAAQABAAD/FNTELEND+"
    for between in ("\r\n ", "\r\n", "\r\n  ", ""):
        lines = between.join([picture] * 3)
        assert read(cards(f"FN:Ann\r\nPHOTO;ENCODING=BASE64;JPEG:{lines}=\r\n\r\nTEL:{ANN}")) == [("Ann", ANN)]


@pytest.mark.parametrize("charset, written", [
    ("UTF-8", "Jürgen"), ("ISO-8859-1", "Jürgen"), ("windows-1251", "Зоя"), ("Shift_JIS", "山田太郎"), ("GBK", "模范"),
    ("EUC-KR", "홍길동"), ("UTF-7", "Jürgen"),
])  # fmt: skip
def test_a_property_can_have_its_own_encoding(charset: str, written: str) -> None:
    line = f"FN;CHARSET={charset}:".encode() + written.encode(charset)
    assert read(cards(f"TEL:{ANN}").replace(b"END:", line + b"\r\nEND:")) == [(written, ANN)]


@pytest.mark.parametrize(
    "claimed", ["ISO-8859-1", "US-ASCII", "windows-1252", "no-such", "hex", "undefined", "punycode", "a b"]
)
def test_a_wrong_charset_does_no_harm(claimed: str) -> None:
    assert read(cards(f"FN;CHARSET={claimed}:Zoë\r\nTEL:{ANN}")) == [("Zoë", ANN)]
    assert read(cards(f"FN;CHARSET={claimed}:Ann-Bea\r\nTEL:{ANN}")) == [("Ann-Bea", ANN)]


def test_a_nested_card_is_not_mixed_with_the_outer_one() -> None:
    inner = "BEGIN:VCARD\r\nFN:Agent\r\nTEL:+12025550159\r\nEND:VCARD"
    for agent in (f"AGENT:\r\n{inner}", f"AGENT:{inner}", "AGENT:" + inner.replace("\r\n", "\\n")):
        assert read(cards(f"{agent}\r\nFN:Ann\r\nTEL:{ANN}")) == [("Ann", ANN)]
    assert read(cards(f"AGENT:\r\nFN:Ann\r\nTEL:{ANN}", "FN:Bob\r\nTEL:+12025550151"))[1][0] == "Bob"
    missing_end = cards(f"AGENT:\r\nFN:Ann\r\nTEL:{ANN}").removesuffix(b"END:VCARD\r\n") + cards(f"FN:Bob\r\nTEL:{ANN}")
    assert [contact.name for contact in vcards.read_vcards(missing_end).contacts] == ["Ann", "Bob"]


def test_a_card_without_an_end_is_read_and_is_a_problem() -> None:
    raw = f"""\
        left over
        from something

        BEGIN:VCARD
        FN:Ann
        TEL:{ANN}
        BEGIN:VCARD
        no line
        of this is one
        END:VCARD
        END:VCARD
        begin:vcard
        FN:Bob
        TEL:+12025550151
        END:VCARD
        BEGIN:VCARD
        FN:Cara
        TEL:+1202555"""
    reading = vcards.read_vcards(textwrap.dedent(raw).encode())
    assert [contact.name for contact in reading.contacts] == ["Ann", "Bob", "Cara"]
    assert reading.problems == (
        Problem(1, vcards.OUTSIDE),
        Problem(4, vcards.CUT_SHORT),
        Problem(7, vcards.EMPTY),
        Problem(11, vcards.OUTSIDE),
        Problem(16, vcards.CUT_SHORT),
    )


@pytest.mark.parametrize("raw", [b"FN:Ann\nTEL:1", b"BEGIN:VCARD\n\xff\xff\nEND:VCARD", b"BEGIN:VCARD\nEND:VCARD"])
def test_a_file_without_a_readable_card_is_unreadable_and_names_the_line(raw: bytes) -> None:
    with pytest.raises(Unreadable, match=r"export the contacts again.*\(line 1: "):
        vcards.read_vcards(raw)


# ── vobject ──────────────────────────────────────────────────────────────────────────────────────────────────────────

# vobject has other line breaks than RFC 6350, section 3.2, and strips spaces at the ends of a value.
WORDS = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"], exclude_characters="\ufeff"),
    min_size=1,
    max_size=60,
)
NUMBERS = st.from_regex(r"\+1 ?202[ -]?555[ -]?01[0-9]{2}", fullmatch=True)
PEOPLE = st.tuples(WORDS, st.lists(NUMBERS, min_size=1, max_size=3))


def written(name: str, numbers: list[str]) -> bytes:
    """A card in the form of RFC 2426, folded after 75 octets, also inside characters."""
    escaped = re.sub(r"([\\;,])", r"\\\1", name)
    lines = [
        "BEGIN:VCARD",
        "VERSION:3.0",
        f"FN:{escaped}",
        f"N:{escaped};;;;",
        *(f"TEL:{n}" for n in numbers),
        "END:VCARD",
    ]
    return b"".join(b"\r\n ".join(_folded(line.encode())) + b"\r\n" for line in lines)


def _folded(line: bytes) -> list[bytes]:
    return [line[at : at + 74] for at in range(0, len(line), 74)]


@settings(max_examples=150, deadline=None)
@given(st.lists(PEOPLE, min_size=1, max_size=4))
def test_well_formed_cards_are_read_as_vobject_reads_them(people: list[tuple[str, list[str]]]) -> None:
    raw = b"".join(written(name, numbers) for name, numbers in people)
    unfolded = raw.replace(
        b"\r\n ", b""
    ).decode()  # vobject unfolds text, not bytes, so folds inside a character break it
    theirs = [
        (card.fn.value, re.sub(r"[ -]", "", tel.value))
        for card in vobject.readComponents(unfolded)
        for tel in card.contents["tel"]
    ]
    ours = [(contact.name, re.sub(r"[ -]", "", contact.phone)) for contact in vcards.read_vcards(raw).contacts]
    assert ours == list(dict.fromkeys(theirs))
    assert vcards.read_vcards(raw.replace(b"FN:", b"X-FN:")).contacts == vcards.read_vcards(raw).contacts
