"""What each contract answers while a store does not: every route in its own words, and nothing is half-recorded."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.users import history
from tests.contract.wire import FORM, RELATED, Answer, Part, ask, form_part, multipart

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def sent(new_series) -> bytes:
    (instance,) = new_series().instances
    return instance


@pytest.fixture(scope="module")
def answers(north, sent) -> dict[str, Answer]:
    """What is answered while the documents' store is frozen, all asked at once, since each waits for its deadline."""
    secret = {"API_AUTH_SECRET": north.token, "Accept": "text/html"}
    asked = {
        "results": ("GET", "/results/1.2.3", north.headers, None),
        "results v2": ("GET", "/results/v2/1.2.3", north.headers, None),
        "upload": ("POST", "/upload", {**north.headers, **FORM}, multipart([form_part("file0", sent)])),
        "stow": ("POST", "/studies", {**north.headers, **RELATED}, multipart([Part(sent)])),
        "compute": ("POST", "/compute/1.2.3", north.headers, b""),
        "start": ("POST", "/v1/model/start/PassThroughModel:1729", secret, b""),
        "run": ("GET", "/v1/model/results/00000000-0000-4000-8000-000000000000", secret, None),
        "history": ("GET", history("lung-ct", "MRN"), north.headers, None),
    }
    north.stack.kill("mongo", signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(len(asked)) as pool:
            coming = {
                name: pool.submit(ask, north.stack, method, path, headers=headers, body=body)
                for name, (method, path, headers, body) in asked.items()
            }
            found = {name: answer.result() for name, answer in coming.items()}
    finally:
        north.stack.kill("mongo", signal.SIGCONT)
        north.stack.wait_until_ready(timeout_s=120)
    return found


@pytest.mark.parametrize("name", ["results", "results v2"])
def test_a_result_that_cannot_be_looked_up_is_502_and_no_404(answers, name):
    answer = answers[name]

    assert answer.status == 502
    assert answer.json()["success"] is False
    assert answer.json()["message"]


@pytest.mark.parametrize("name", ["upload", "stow", "compute"])
def test_what_cannot_be_taken_now_is_503_and_says_when_to_come_again(answers, name):
    answer = answers[name]

    assert answer.status == 503
    assert int(answer.header("retry-after") or 0) > 0


@pytest.mark.parametrize("name", ["start", "run"])
def test_innereyes_client_gets_the_503_that_it_tries_again_on(answers, name):
    answer = answers[name]

    assert answer.status == 503
    assert answer.content_type == "application/json"
    assert set(answer.json()) == {"code", "detail", "status", "title"}


def test_the_history_is_503_with_a_detail(answers):
    assert answers["history"].status == 503
    assert list(answers["history"].json()) == ["detail"]


def test_nothing_of_what_was_refused_is_half_recorded(north, answers, sent):
    again = ask(
        north.stack,
        "POST",
        "/upload",
        headers={**north.headers, **FORM},
        body=multipart([form_part("file0", sent)]),
    )

    assert again.status == 200, answers
    assert again.json()["messages"]["file0"]["created"] is True
    assert again.json()["detailed_info"][0]["NumberOfSeriesRelatedInstances"] == 1
