import contextlib
import random
import re._parser as parser
import subprocess
import sys
import unicodedata

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ringbook import phone

# Every character that must make no difference, straight from the Unicode names and categories.
BLANKS = " \t\n\u00a0\u1680\u2002\u2007\u2009\u202f\u205f\u3000"
DASHES = "".join(chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Pd") + "\u2212\u30fc"
INVISIBLE = "\u00ad\u200b\u200e\u200f\u202a\u202c\u2066\u2069\ufeff"
BRACKETS_AND_DOTS = "().-/（）．／"
FORMATTING = BLANKS + DASHES + INVISIBLE + BRACKETS_AND_DOTS

ascii_digits = st.text("0123456789", min_size=1, max_size=18)
regions = st.sampled_from(["", "GB", "US", "DE", "IN", "BR", "AU", "IT"])


@pytest.mark.parametrize(
    "typed, region, number",
    [
        ("447700900123", "", 447700900123),
        ("+44 7700 900123", "", 447700900123),
        ("+44 (0)7700 900123", "", 447700900123),
        ("0044 7700 900123", "", 447700900123),
        ("  (+44) 7700/900-123 ", "", 447700900123),
        ("\u202a+44\u00a07700\u2011900\u2011123\u202c", "", 447700900123),
        ("＋４４（０）７７００　９００１２３", "", 447700900123),
        ("+٤٤ ٧٧٠٠ ٩٠٠١٢٣", "", 447700900123),
        ("44+7700+900123", "", 447700900123),
        ("1-202-555-0142", "", 12025550142),
        ("(202) 555-0142", "", 2025550142),
        ("(202) 555-0142", "US", 12025550142),
        ("1 202 555 0142", "US", 12025550142),
        ("011 44 7700 900123", "US", 447700900123),
        ("07700 900 456", "GB", 447700900456),
        ("447700900456", "GB", 447700900456),
        ("+1 202 555 0142", "GB", 12025550142),
        ("0491 570 156", "AU", 61491570156),
        ("+39 06 1234 5678", "", 390612345678),
    ],
)
def test_what_people_type_reads_as_the_number_they_mean(typed, region, number):
    assert phone.read(typed, region) == number


@pytest.mark.parametrize(
    "typed, region, kept",
    [
        ("+999 1234567", "", "9991234567"),
        ("00999 1234567", "", "9991234567"),
        ("+1 202 555 01429", "", "120255501429"),
        ("123456789012345", "GB", "123456789012345"),
        ("07700 900456", "XX", "07700900456"),
        ("+0 447700900123", "GB", "0447700900123"),
    ],
)
def test_what_no_country_has_stays_as_its_digits(typed, region, kept):
    assert phone.digits(phone.read(typed, region)) == kept


def test_a_number_that_only_neighbours_can_dial_is_not_completed():
    assert phone.read("020 7946 0123", "GB") == 442079460123
    with pytest.raises(phone.WrongLength):
        phone.read("7946 0123", "GB")


def test_leading_zeros_without_a_region_count():
    with_zero, without = phone.read("07700 900456"), phone.read("7700 900456")
    assert with_zero != without
    assert (phone.digits(with_zero), phone.digits(without)) == ("07700900456", "7700900456")


@pytest.mark.parametrize(
    "typed", ["call me", "07700 900456 ext 2", "*100*447700900123#", "+44,7700900123", "½" * 11, "²" * 11]
)
def test_letters_and_signs_are_unreadable(typed):
    with pytest.raises(phone.Unreadable):
        phone.read(typed)


@pytest.mark.parametrize(
    "typed", ["", "   ", "+", "()", "123456789", "1234567890123456", "0" * 15, "+49" + "1" * 15, "9" * 100_000]
)
def test_fewer_than_10_or_more_than_15_digits_are_refused(typed):
    with pytest.raises(phone.WrongLength):
        phone.read(typed)


@pytest.mark.parametrize("length", [10, 15])
def test_10_and_15_digits_are_read(length):
    assert phone.digits(phone.read("9" * length)) == "9" * length


@given(st.text(), st.one_of(regions, st.text(max_size=3)))
@example("+\ud83d", "")
@example("\x00", "GB")
def test_any_text_reads_or_is_refused(typed, region):
    try:
        number = phone.read(typed, region)
    except (phone.Unreadable, phone.WrongLength):
        return
    assert 0 < number < 2**63


@given(st.sampled_from(["", "+", "00", "0"]), ascii_digits, regions)
@example("00", "0" * 13 + "1", "")
@example("+", "0" * 13 + "1", "")
def test_the_digits_of_a_number_read_as_that_number(prefix, typed, region):
    try:
        number = phone.read(prefix + typed, region)
    except phone.WrongLength:
        return
    assert phone.MIN_DIGITS <= len(phone.digits(number)) <= phone.MAX_DIGITS
    assert phone.read(phone.digits(number)) == number


@given(st.sampled_from(["", "+", "00"]), ascii_digits, regions, st.data())
def test_formatting_never_changes_the_reading(prefix, typed, region, data):
    plain = prefix + typed
    marks = data.draw(st.lists(st.text(FORMATTING, max_size=2), min_size=len(plain) + 1, max_size=len(plain) + 1))
    dressed = marks[0] + "".join(character + mark for character, mark in zip(plain, marks[1:], strict=True))
    assert reading(dressed, region) == reading(plain, region)


@given(ascii_digits, regions, st.sampled_from("٠۰०০߀０𝟎"))
def test_digits_of_every_script_are_the_same_digits(typed, region, zero):
    assert reading(typed.translate({ord("0") + n: ord(zero) + n for n in range(10)}), region) == reading(typed, region)


@pytest.mark.parametrize(
    "typed, region, number",
    [
        ("+44 (0)7700 900123", "", 447700900123),
        ("0044 7700 900123", "US", 447700900123),
        ("+1 202-555-0142", "GB", 12025550142),
        ("07700 900456", "GB", 447700900456),
        ("＋４４　７７００　９００１２３", "", 447700900123),
        ("07700 900456", "", None),
        ("447700900123", "", None),
        ("+44 7700 9001", "", None),
        ("7946 0123", "GB", None),
        ("20 000 000 000", "US", None),
        ("+999 123 456 789", "", None),
        ("call me", "GB", None),
        ("", "", None),
        ("+", "GB", None),
        ("+" + "9" * 100_000, "", None),
    ],
)
def test_dialled_is_a_number_only_with_its_country(typed, region, number):
    assert phone.dialled(typed, region) == number


@given(st.sampled_from(["", "+", "00", "0"]), ascii_digits, regions)
def test_what_can_be_dialled_is_what_is_read(prefix, typed, region):
    number = phone.dialled(prefix + typed, region)
    assert number is None or number == phone.read(prefix + typed, region)


@given(st.text(), st.one_of(regions, st.text(max_size=3)))
@example("+\ud83d", "")
@example("+44\x007700900123", "")
def test_any_text_can_be_dialled_or_not(typed, region):
    assert phone.dialled(typed, region) is None or phone.dialled(typed, region) > 0


@pytest.mark.parametrize(
    "number, region",
    [
        (447700900123, "GB"),
        (12025550142, "US"),
        (18765550142, "JM"),
        (12425550142, "BS"),
        (353201234567, "IE"),
        (33639981234, "FR"),
        (61491570156, "AU"),
        (80012345678, ""),
        (88299999999, ""),
        (999123456789, ""),
        (10**15 + 7700900123, ""),
    ],
)
def test_the_country_of_a_number(number, region, monkeypatch):
    assert phone.region_of(number) == region
    monkeypatch.setattr(phone, "_library", phonenumbers)
    assert phone.region_of(number) == region


@pytest.mark.parametrize(
    "number, whose",
    [
        (447911123456, True),
        (442071838750, True),  # fixed: a gateway may read the code out
        (447700900123, True),  # fictional, so of no known kind
        (12025550142, True),
        (999123456789, True),
        (10**15 + 7700900123, True),
        (19005550100, False),  # premium rate
        (449091234567, False),
        (448001111111, False),  # toll free
        (18005550199, False),
        (447012345678, False),  # personal
        (447640123456, False),  # pager
        (443301234567, False),  # of a company, in all places (UAN)
        (41840123456, False),  # shared cost
        (41860123456789, False),  # voicemail
    ],
)
def test_which_numbers_are_of_a_phone(number, whose, monkeypatch):
    assert phone.is_of_a_phone(number) is whose
    monkeypatch.setattr(phone, "_library", phonenumbers)
    assert phone.is_of_a_phone(number) is whose


def reading(typed, region=""):
    """The result of `read`, or the name of its refusal."""
    try:
        return phone.read(typed, region)
    except ValueError as refusal:
        return type(refusal).__name__


def spellings(seed):
    """Numbers of every country in many spellings, correct and wrong, each with the region of its writer."""
    chance = random.Random(seed)
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        parsed = example or phonenumbers.example_number(region)
        for style in (phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.NATIONAL):
            typed = phonenumbers.format_number(parsed, style)
            yield typed, region
            yield typed.replace("+", "00"), region
            yield typed[: -chance.randint(1, 3)], region
            yield typed + str(chance.randint(0, 999)), region
            yield typed, chance.choice(["GB", "US", "DE", "JP"])


@contextlib.contextmanager
def reading_with(library):
    """Each number is read by this library, also where it could change nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phone, "_library", library)
        patch.setattr(phone, "_parse", library.parse)
        patch.setattr(phone, "_reason", library.is_possible_number_with_reason)
        patch.setattr(phone, "_format", library.format_number)
        patch.setattr(phone, "_NoNumber", library.NumberParseException)
        patch.setattr(phone, "_IS_POSSIBLE", library.ValidationResult.IS_POSSIBLE)
        patch.setattr(phone, "_E164", library.PhoneNumberFormat.E164)
        patch.setattr(phone, "_is_as_typed", lambda start: False)
        yield


LIBRARIES = pytest.mark.parametrize("library", [phone._library, phonenumbers], ids=lambda one: one.__name__)


def test_both_libraries_read_alike():
    cases = list(spellings(seed=2))
    with reading_with(phone._library):
        fast = [reading(*case) for case in cases]
    with reading_with(phonenumbers):
        slow = [reading(*case) for case in cases]
    apart = [case for case, one, other in zip(cases, fast, slow, strict=True) if one != other]
    assert sum(isinstance(number, int) for number in fast) > len(cases) / 2
    # The two carry metadata of different months: a country that changed its plan in between may differ.
    assert len(apart) <= len(cases) / 500, apart


# The releases of the two libraries carry metadata of different months. Benin got longer numbers in between.
CHANGED = {"BJ"}
calling_codes = st.sampled_from(
    sorted(code for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items() if not CHANGED & set(regions))
)
beginnings = st.one_of(
    st.sampled_from(["", "+", "00", "0", "011", "+0", "++"]),
    calling_codes.map(lambda code: f"+{code}"),
    calling_codes.map(lambda code: f"00{code}"),
)
all_regions = st.sampled_from(["", "XX", "001", *sorted(phonenumbers.SUPPORTED_REGIONS - CHANGED)])


@settings(max_examples=2_000, deadline=None)
@given(beginnings, st.text("0123456789", max_size=40), all_regions)
def test_both_libraries_read_any_digits_alike(beginning, digits, region):
    agree(beginning + digits, region)


@settings(max_examples=1_000, deadline=None)
@given(st.text(st.sampled_from("0123456789٠۹+-.()/;#*,=xXa \u00a0\u200b\x00\ud83d"), max_size=30), all_regions)
@example("+1202555\x000142", "US")
@example("+12025550142;ext=5", "US")
@example("tel:+12025550142;phone-context=+1", "")
def test_both_libraries_read_any_text_alike(typed, region):
    agree(typed, region)


def agree(typed, region):
    """Check that both libraries give the same results."""

    def said(library):
        with reading_with(library):
            number = reading(typed, region)
            known = isinstance(number, int)
            return number, phone.dialled(typed, region), phone.region_of(number) if known else ""

    assert said(phone._library) == said(phonenumbers)


# ── what is read without the library ─────────────────────────────────────────────────────────────────────────────────


def may_begin(parsed):
    """The characters with which a match of a parsed pattern may begin, and whether it may be empty."""
    found = set()
    for kind, of in parsed:
        more, is_empty = may_begin_one(str(kind), of)
        found |= more
        if not is_empty:
            return found, False
    return found, True


def may_begin_one(kind, of):
    if kind == "LITERAL":
        return {chr(of)}, False
    if kind == "IN":
        ends = [one if str(way) == "RANGE" else (one, one) for way, one in of if str(way) in ("RANGE", "LITERAL")]
        digits = {chr(code) for first, last in ends for code in range(first, last + 1)}
        return digits if len(ends) == len(of) else set("0123456789"), False
    if kind == "SUBPATTERN":
        return may_begin(of[3])
    if kind == "BRANCH":
        branches = [may_begin(one) for one in of[1]]
        return set().union(*(more for more, _ in branches)), any(is_empty for _, is_empty in branches)
    if kind == "MAX_REPEAT":
        more, is_empty = may_begin(of[2])
        return more, is_empty or of[0] == 0
    return set("0123456789"), False


def test_no_other_digit_begins_a_national_prefix():
    assert phonenumbers.__version__ in phone._PREFIXES_OF, "look whether _PREFIXES is right for this release"
    for code, (region, *_) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items():
        metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        prefix = metadata.national_prefix_for_parsing
        found, _ = may_begin(parser.parse(prefix)) if prefix else (set(), True)
        assert found <= {"0", *phone._PREFIXES.get(code, "")}, (code, prefix)


def test_the_library_has_a_release_for_which_the_prefixes_are_known():
    assert phone._metadata in phone._PREFIXES_OF
    assert phone._is_as_typed("1202") and not phone._is_as_typed("1120") and not phone._is_as_typed("0120")


@LIBRARIES
def test_what_is_read_without_a_library_is_read_by_it_alike(library):
    chance = random.Random(3)
    starts = [start for start in map(str, range(1000, 10_000)) if phone._is_as_typed(start)]
    assert len(starts) > 7_000
    typed = [f"+{start}{chance.randrange(10**size):0{size}}" for start in starts for size in (6, 7, 8, 9, 11)]
    typed = typed if library is phone._library else typed[::20]
    quick = [phone.read(one) for one in typed]
    with reading_with(library):
        assert [phone.read(one) for one in typed] == quick


plain_or_not = st.one_of(
    st.text("0123456789+-.() /_x\n\t٠\ud83d", max_size=20),
    st.builds(lambda start, digits: start + digits, beginnings, st.text("0123456789", min_size=6, max_size=14)),
    st.builds(lambda digits: " " * 260 + digits, st.text("0123456789", min_size=10, max_size=12)),
)


@settings(max_examples=1_000, deadline=None)
@given(st.lists(plain_or_not, max_size=6), st.sampled_from(["", "GB", "US"]))
@example(["12025550142", "+12025550142", "1_2025550142", "+1 (202) 555-0142", "+01202555014"], "")
@example(["12025550142", "1202\n5550142"], "")
def test_many_texts_are_read_as_each_of_them_or_not(typed, region):
    found = phone.read_plain(typed, region)
    for one, number in zip(typed, found, strict=True):
        assert number in (0, reading(one, region))
    assert phone.read_plain(["12025550142", "+1 (202) 555-0142"]) == [12025550142, 12025550142]


def test_an_unusual_text_keeps_only_those_near_it_from_being_read_together():
    typed = ["12025550142"] * 1_000
    assert phone.read_plain([*typed, "call me", *typed]).count(0) <= phone._AT_ONCE


class Recorder:
    """The library, with a record of its calls."""

    def __init__(self, library):
        self._library = library
        self.given = []

    def __getattr__(self, name):
        return getattr(self._library, name)

    def parse(self, text, region):
        self.given.append((text, region))
        return self._library.parse(text, region)


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(), st.text("0123456789+() ", max_size=200)), st.one_of(all_regions, st.text(max_size=4)))
@example("9" * 31, "GB")
@example("+" + "9" * 31, "")
def test_the_library_is_given_a_plus_and_digits_at_most_64_and_a_region_it_knows(typed, region):
    recorder = Recorder(phone._library)
    with reading_with(recorder):
        number = reading(typed, region)
        phone.dialled(typed, region)
        if isinstance(number, int):
            phone.region_of(number)
            phone.is_of_a_phone(number)
        for one in (0, 2**63 - 1, 10**15 * 9_000):
            phone.region_of(one)
            phone.is_of_a_phone(one)
    for text, given_region in recorder.given:
        assert text.isascii() and text.removeprefix("+").isdigit() and len(text) <= 64
        assert given_region is None or given_region in phonenumbers.SUPPORTED_REGIONS


@pytest.mark.parametrize("typed", ["9" * 1_000_000, "(" * 1_000_000, "\ufdfa" * 1_000_000, "+" * 257])
def test_a_text_longer_than_people_write_is_refused_without_a_look(typed, monkeypatch):
    monkeypatch.setattr(phone, "_FOLDS", None)
    with pytest.raises(phone.WrongLength):
        phone.read(typed)
    with pytest.raises(TypeError):
        phone.read("(" * phone.LONGEST_TYPED)  # this one is looked at


def test_reading_ends_at_the_first_character_that_is_no_part_of_a_number(monkeypatch):
    folded = []
    fold = phone._fold
    monkeypatch.setattr(phone, "_fold", lambda character: folded.append(character) or fold(character))
    with pytest.raises(phone.Unreadable):
        phone.read("\ufdfa" * 200)
    assert folded == ["\ufdfa"]


def test_hostile_texts_make_no_table_grow():
    before = len(phone._FOLDS)
    for code in range(0x20000):
        with contextlib.suppress(phone.Unreadable, phone.WrongLength):
            phone.read(chr(code) + "1")
    assert len(phone._FOLDS) - before < 1_500


def test_without_the_fast_library_the_other_one_serves():
    program = """
import sys
sys.modules["rphonenumbers"] = None
from ringbook import phone
print(phone.library().split()[0], phone.read("+44 (0)7700 900123"), phone.is_region("GB"))
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "phonenumbers 447700900123 True\n"


def test_masked_shows_the_last_two_digits_only():
    assert phone.masked(447700900123) == "…23"
    assert phone.masked(phone.read("07700 900400")) == "…00"


@pytest.mark.parametrize(
    "region, known", [("GB", True), ("US", True), ("gb", False), ("XX", False), ("001", False), ("", False)]
)
def test_regions_are_two_capital_letters(region, known):
    assert phone.is_region(region) is known


@pytest.mark.parametrize(
    "login, numeric",
    [("+44 7700 900123", True), ("447700900123", True), ("ann", False), ("ann.447700900123", False), ("12345", False)],
)
def test_a_login_may_look_like_a_number(login, numeric):
    assert phone.looks_like_number(login) is numeric


def test_the_library_is_named_with_its_metadata():
    name, version, word, metadata = phone.library().split()
    assert name == "rphonenumbers" and word == "metadata"
    assert version[0].isdigit() and metadata[0].isdigit()


@given(
    st.text(alphabet=[chr(code) for code in range(128)], max_size=20)
    | st.text(alphabet="+0123456789 ()-./", max_size=20)
)
def test_ascii_is_read_as_the_table_of_all_characters_reads_it(typed):
    def outcome(work):
        try:
            return work(typed)
        except phone.Unreadable:
            return None

    assert outcome(phone._without_formatting) == outcome(lambda text: text.translate(phone._FOLDS))
