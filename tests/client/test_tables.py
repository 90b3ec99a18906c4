"""CSV files in the forms that people and programs write."""

import pytest
from ringbook_client import tables
from ringbook_client.errors import Unreadable
from ringbook_client.reading import Problem

ANN, BOB = "+12025550150", "+44 7700 900150"
BOTH = [("Ann", ANN), ("Bob", BOB)]


def read(text: str) -> list[tuple[str, str]]:
    """(name, number) of each contact of a file without problems."""
    reading = tables.read_csv(text.encode())
    assert reading.problems == ()
    return [(contact.name, contact.phone) for contact in reading.contacts]


@pytest.mark.parametrize("text", [
    f"name,phone\nAnn,{ANN}\nBob,{BOB}\n",
    f"Ann,{ANN}\nBob,{BOB}",
    f"Ann;{ANN}\n\n;\nBob;{BOB}\n",
    f"Phone\tFull Name\n{ANN}\tAnn\n{BOB}\tBob\n",
    f"{ANN}|Ann\n{BOB}|Bob\n",
    f'sep=;\nName;Tel\n"Ann";"{ANN}"\nBob;{BOB}\n',
    f"Vorname;Telefon\nAnn;{ANN}\nBob;{BOB}\n",
    f'"Name","Mobile Phone","Notes"\n"Ann","{ANN}","likes ""boats"",\nand lakes"\n"Bob","{BOB}",""\n',
    f"id,name,e-mail,phone type,phone number\n1,Ann,a@example.com,home,{ANN}\n2,Bob,,work,{BOB}\n",
])  # fmt: skip
def test_columns_are_found_by_headings_or_by_contents(text: str) -> None:
    assert read(text) == BOTH


def test_the_delimiter_is_the_one_that_yields_numbers() -> None:
    assert read(f"Example, Ann;{ANN}\nExample, Bob;{BOB}\n") == [("Example, Ann", ANN), ("Example, Bob", BOB)]


def test_each_number_of_a_row_is_a_contact_and_is_its_name_if_the_row_has_none() -> None:
    text = (
        f"First Name,Last Name,Home Phone,Mobile,Home Fax\nAnn,Example,{ANN},{BOB},+12025550159\n,,{ANN},,\nBob,,,,\n"
    )
    assert read(text) == [("Ann Example", ANN), ("Ann Example", BOB), (ANN, ANN)]
    assert read(f"{ANN}\n{BOB}\n") == [(ANN, ANN), (BOB, BOB)]


def test_a_contact_can_have_a_heading_as_name() -> None:
    assert read(f"Phone,{ANN}\nBob,{BOB}\n") == [("Phone", ANN), ("Bob", BOB)]


def test_numbers_are_not_checked() -> None:
    assert read(f"name,phone\nAnn,{ANN}\nOffice,12\nShop,1-800-FLOWERS\n")[1:] == [
        ("Office", "12"),
        ("Shop", "1-800-FLOWERS"),
    ]


def test_a_row_that_cannot_be_read_is_a_problem_and_the_others_are_read() -> None:
    text = f'name,phone\nAnn,{ANN}\n"Bob,{BOB}\nCara,+12025550152\n"Dora","+12025550153"\nEve "E." X,+12025550154\n'
    reading = tables.read_csv(text.encode())
    assert [contact.name for contact in reading.contacts] == ["Ann", "Cara", "Dora", 'Eve "E." X']
    assert reading.problems == (Problem(3, tables.BROKEN),)
    # The file has no further quotation mark: without recovery, the rest of the file would be Bob's name.
    reading = tables.read_csv(f'name,phone\nAnn,{ANN}\n"Bob,{BOB}\nCara,+12025550152\n'.encode())
    assert [contact.name for contact in reading.contacts] == ["Ann", "Cara"]
    assert reading.problems == (Problem(3, tables.BROKEN),)
    reading = tables.read_csv(f'name,phone\nAnn,{ANN}\n"Bob,{BOB}'.encode())
    assert (len(reading.contacts), reading.problems) == (1, (Problem(3, tables.BROKEN),))
    reading = tables.read_csv(f'Ann,{ANN}\nBob,\n"C" C,{BOB}\n'.encode())
    assert [contact.name for contact in reading.contacts] == ["Ann", "C C"]
    assert reading.problems == (Problem(2, tables.NO_NUMBER),)


def test_a_file_with_many_broken_rows_is_read() -> None:
    rows = "".join(f'"broken {n},+12025550150\nAnn {n},{ANN}\n' for n in range(20_000))
    reading = tables.read_csv(f"name,phone\n{rows}".encode())
    assert len(reading.contacts) + len(reading.problems) >= 20_000


@pytest.mark.parametrize("text", ["name,phone\n", "a,b\nc,d\n", "name\nAnn\n", f'name,phone\n"Ann,{ANN}\n'])
def test_a_file_without_a_row_or_a_column_of_numbers_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        tables.read_csv(text.encode())
