"""Made-up exports of iOS, Android, Samsung, Google, Nextcloud and Outlook, and files that cannot be read."""

import codecs
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ringbook_client import sources
from ringbook_client.errors import Unreadable

EXPORTS = Path(__file__).with_name("exports")
EXPECTED = {
    "ios.vcf": [
        ("Dr. Ann Example", "+1 (202) 555-0150"),
        ("Dr. Ann Example", "+44 7700 900150"),
        ("Dr. Ann Example", "+1 202-555-0151"),
        ("Example Bakery", "+1 (202) 555-0152"),
    ],
    "android.vcf": [
        ("Зоя Кот", "+12025550160"),
        ("Зоя Кот", "+12025550161"),
        ("Bob Example", "+44 7700 900160"),
        ("Bob Example", "+447700900161"),
        ("Änne", "020-7946-0162"),
        ("+12025550163", "+12025550163"),
    ],
    "samsung.vcf": [("Иван Иван", "+12025550164")],
    "google.vcf": [
        ("Cara Example", "+1 202-555-0170"),
        ("Cara Example", "+1 202-555-0171"),
        ("Example Plumbing", "+1 202-555-0172"),
        ("Dee", "+1 202-555-0173"),
    ],
    "nextcloud.vcf": [
        ("Dora Example", "+1-202-555-0180"),
        ("Dora Example", "+1 202 555 0181"),
        ("Dora Example", "+44-7700-900180"),
        (
            "Long Name That Is Folded In The Middle Of A Word Since It Is Longer Than Seventy Five Octets",
            "+12025550182",
        ),
    ],
    "outlook.vcf": [
        ("Jörg Müller", "+44 7700 900190"),
        ("Jörg Müller", "+44 7700 900191"),
        ("Jörg Müller", "+44 7700 900193"),
    ],
    "google.csv": [
        ("Dr. Ann Example", "+1 202-555-0150"),
        ("Dr. Ann Example", "+1 202-555-0151"),
        ("Dr. Ann Example", "+44 7700 900150"),
        ("Zoë van, der Beispiel", "+44 7700 900151"),
        ("Example Bakery", "+1 202-555-0152"),
        ("Dee", "+1 202-555-0153"),
    ],
    "google-2023.csv": [("Ann Example", "+1 202-555-0150")],
    "outlook.csv": [
        ("Ann Example", "+1 202 555 0150"),
        ("Ann Example", "+1 202 555 0151"),
        ("Ann Example", "+1 202 555 0152"),
        ("Jörg Müller", "+44 7700 900150"),
    ],
}


def read(path: Path) -> list[tuple[str, str]]:
    """(name, number) of each contact in a file without problems."""
    reading = sources.read_contacts(path)
    assert reading.problems == ()
    return [(contact.name, contact.phone) for contact in reading.contacts]


def test_every_export_has_an_expectation() -> None:
    assert {file.name for file in EXPORTS.iterdir()} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_exports_are_read(name: str) -> None:
    assert read(EXPORTS / name) == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r", b"\r\r\n"])
def test_all_line_ends_are_read(ends: bytes, name: str, tmp_path: Path) -> None:
    if name.endswith(".csv") and ends == b"\r\r\n":
        return  # the second line end adds a blank line, which changes a quoted note
    file = tmp_path / name
    file.write_bytes((EXPORTS / name).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", ends))
    assert read(file) == EXPECTED[name]


@pytest.mark.parametrize("name", ["ios.vcf", "nextcloud.vcf", "outlook.vcf", "google.csv", "outlook.csv"])
@pytest.mark.parametrize("mark, encoding", [
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"", "utf-16-le"),
    (b"", "utf-16-be"),
    (b"", "utf-8"),
    (b"", "cp1252"),
    (b"", "latin-1"),
])  # fmt: skip
def test_usual_encodings_are_read_whatever_charset_the_file_names(
    mark: bytes, encoding: str, name: str, tmp_path: Path
) -> None:
    raw = (EXPORTS / name).read_bytes()
    text = raw.decode("cp1252" if name.startswith("outlook") else "utf-8")
    file = tmp_path / name
    file.write_bytes(mark + text.encode(encoding))
    assert read(file) == EXPECTED[name]


def test_the_contents_decide_the_format_before_the_file_name(tmp_path: Path) -> None:
    file = tmp_path / "contacts.txt"
    file.write_bytes((EXPORTS / "ios.vcf").read_bytes())
    assert read(file) == EXPECTED["ios.vcf"]
    file.write_bytes(b"Ann;+12025550150\n")
    assert read(file) == [("Ann", "+12025550150")]


@pytest.mark.parametrize("raw, message", [
    (b"", "empty"),
    (b"\xef\xbb\xbf \r\n", "empty"),
    (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "not text"),
    (b"PK\x03\x04rest", "export it as vCard or CSV"),
    (b"name,phone\n", "no contacts"),
    (b"Dear Ann,\nthank you for the cake.\n", "no column"),
    (b"{}", "no column"),
])  # fmt: skip
def test_an_unreadable_file_is_not_an_empty_book(raw: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "contacts.csv"
    file.write_bytes(raw)
    with pytest.raises(Unreadable, match=message):
        sources.read_contacts(file)


@pytest.mark.parametrize("path", ["missing.vcf", ".", "a\0b.vcf"])
def test_a_file_that_cannot_be_opened_is_unreadable(path: str, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="cannot be read"):
        sources.read_contacts(tmp_path / path)


LIKELY = st.sampled_from(
    [b"BEGIN:VCARD\n", b"END:VCARD\n", b"TEL:+12025550150\n", b"FN:x", b"N:a;b", b"AGENT:\n", b"\n", b"\r", b" ", b"\t"]
    + [b";ENCODING=QUOTED-PRINTABLE", b";CHARSET=", b"utf-7", b"unicode_escape", b"utf-16", b"idna", b"=\n", b"=D0"]
    + [b":", b";", b",", b'"', b"\\", b"\xff", b"\xd0", b"\0", b"phone", b"name", b"sep=", b"::: ", b"\xe2\x80\xa8"]
)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(raw=b"BEGIN:VCARD\nFN;CHARSET=unicode_escape:\\ud83d\nTEL:+12025550150\n", name="a.vcf")
@example(raw=b'phone,name\n"' + b"x" * 200_000, name="a.csv")
@given(
    raw=st.lists(LIKELY | st.binary(max_size=8), max_size=40).map(b"".join),
    name=st.sampled_from(["a.vcf", "a.csv", "a"]),
)
def test_any_file_is_read_or_unreadable(raw: bytes, name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(raw)
    try:
        reading = sources.read_contacts(file)
    except Unreadable as error:
        assert str(error)
        return
    lines = 2 + raw.count(b"\n") + raw.count(b"\r")
    assert all(1 <= problem.line <= lines for problem in reading.problems)
    for contact in reading.contacts:
        assert contact.name.strip() and contact.phone.strip()
        (contact.name + contact.phone).encode()
