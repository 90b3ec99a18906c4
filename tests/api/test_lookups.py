"""Look-ups by whole values over `GET /users/v2`, as SDKs make them: several at the same time."""

import pytest
from asking import Person, at_once, person
from servers import Server

AT_ONCE = 5
ROUNDS = 4


@pytest.fixture(scope="module")
def ann(server: Server) -> Person:
    return person(server)


@pytest.mark.parametrize("query", ["id={id}", "id[in]={id}", "id[in][]={id}", "login={login}"])
def test_five_look_ups_of_a_user_at_once_are_all_answered(ann: Person, query: str) -> None:
    path = "/users/v2?" + query.format(id=ann.id, login=ann.login)
    for _ in range(ROUNDS):
        answers = at_once([lambda: ann.ask("GET", path)] * AT_ONCE)
        assert [answer.status for answer in answers] == [200] * AT_ONCE
        assert [user["id"] for answer in answers for user in answer.json["items"]] == [ann.id] * AT_ONCE
