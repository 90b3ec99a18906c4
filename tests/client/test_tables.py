"""CSV in the shapes that people and programs give it."""

import pytest
from ringbook_client import tables
from ringbook_client.errors import Unreadable
from ringbook_client.reading import Problem

ANN, BOB = "+12025550150", "+44 7700 900150"
BOTH = [("Ann", ANN), ("Bob", BOB)]


def held(text: str) -> list[tuple[str, str]]:
    """(name, number) of each contact; nothing was a problem."""
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
def test_names_and_numbers_are_found_by_headings_or_by_what_they_look_like(text: str) -> None:
    assert held(text) == BOTH


def test_a_comma_within_names_is_no_delimiter_where_another_sign_uncovers_the_numbers() -> None:
    assert held(f"Example, Ann;{ANN}\nExample, Bob;{BOB}\n") == [("Example, Ann", ANN), ("Example, Bob", BOB)]


def test_a_row_has_as_many_contacts_as_numbers_and_goes_by_its_number_without_a_name() -> None:
    text = (
        f"First Name,Last Name,Home Phone,Mobile,Home Fax\nAnn,Example,{ANN},{BOB},+12025550159\n,,{ANN},,\nBob,,,,\n"
    )
    assert held(text) == [("Ann Example", ANN), ("Ann Example", BOB), (ANN, ANN)]
    assert held(f"{ANN}\n{BOB}\n") == [(ANN, ANN), (BOB, BOB)]


def test_a_contact_may_be_called_like_a_heading() -> None:
    assert held(f"Phone,{ANN}\nBob,{BOB}\n") == [("Phone", ANN), ("Bob", BOB)]


def test_numbers_that_the_server_will_not_take_are_handed_on() -> None:
    assert held(f"name,phone\nAnn,{ANN}\nOffice,12\nShop,1-800-FLOWERS\n")[1:] == [
        ("Office", "12"),
        ("Shop", "1-800-FLOWERS"),
    ]


def test_a_row_that_cannot_be_read_is_told_and_takes_no_other_with_it() -> None:
    text = f'name,phone\nAnn,{ANN}\n"Bob,{BOB}\nCara,+12025550152\n"Dora","+12025550153"\nEve "E." X,+12025550154\n'
    reading = tables.read_csv(text.encode())
    assert [contact.name for contact in reading.contacts] == ["Ann", "Cara", "Dora", 'Eve "E." X']
    assert reading.problems == (Problem(3, tables.BROKEN),)
    # Without another quotation mark the whole rest would belong to Bob's name.
    reading = tables.read_csv(f'name,phone\nAnn,{ANN}\n"Bob,{BOB}\nCara,+12025550152\n'.encode())
    assert [contact.name for contact in reading.contacts] == ["Ann", "Cara"]
    assert reading.problems == (Problem(3, tables.BROKEN),)
    reading = tables.read_csv(f'name,phone\nAnn,{ANN}\n"Bob,{BOB}'.encode())
    assert (len(reading.contacts), reading.problems) == (1, (Problem(3, tables.BROKEN),))
    reading = tables.read_csv(f'Ann,{ANN}\nBob,\n"C" C,{BOB}\n'.encode())
    assert [contact.name for contact in reading.contacts] == ["Ann", "C C"]
    assert reading.problems == (Problem(2, tables.NO_NUMBER),)


def test_many_broken_rows_do_not_take_long() -> None:
    rows = "".join(f'"broken {n},+12025550150\nAnn {n},{ANN}\n' for n in range(20_000))
    reading = tables.read_csv(f"name,phone\n{rows}".encode())
    assert len(reading.contacts) + len(reading.problems) >= 20_000


@pytest.mark.parametrize("text", ["name,phone\n", "a,b\nc,d\n", "name\nAnn\n", f'name,phone\n"Ann,{ANN}\n'])
def test_a_file_without_a_row_or_a_column_of_numbers_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        tables.read_csv(text.encode())
