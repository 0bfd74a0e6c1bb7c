"""Asking a language model: prompts, whatever it answers, servers that fail, the cache, and the budget."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest
from alphabetical_model import AlphabeticalModel, candidates_of
from hypothesis import given, settings
from hypothesis import strategies as st
from language_model_server import Reply, Server, backwards, completion, serve

from ml.language_models.answers import Answer, KeptAnswers, NoAnswer, cache_file
from ml.language_models.asking import Asker, most_tokens
from ml.language_models.endpoint import Endpoint
from ml.language_models.prompts import is_drawn, prompt_of, shuffled
from ml.language_models.reading import Reading, mean_ranks, read_answer

TITLES = ("Steel drill", "Brass saw 40 cm", "Copper wire, insulated", "Steel drill bits", "Glove")
PROMPT = prompt_of("recency", ["Hose", "Valve"], TITLES)


@pytest.fixture
def server() -> Server:
    with serve() as running:
        yield running


# prompts


def test_prompts_show_history_and_candidates_in_order() -> None:
    assert list(candidates_of(PROMPT).values()) == list(TITLES)
    assert "1. Hose\n2. Valve\nNote that my most recent item is: Valve" in PROMPT
    assert "most recent" not in prompt_of("sequential", ["Hose", "Valve"], TITLES)
    in_context = prompt_of("in_context", ["Hose", "Valve"], TITLES)
    assert "1. Hose\nYou should then recommend this item to me: Valve" in in_context
    # nothing stands before the only item, so there is no example
    assert prompt_of("in_context", ["Hose"], TITLES) == prompt_of("sequential", ["Hose"], TITLES)
    with pytest.raises(ValueError, match="no form of prompts other"):
        prompt_of("other", ["Hose"], TITLES)


def test_shuffles_depend_on_their_arguments_alone() -> None:
    one = shuffled(0, [1, 2], list(range(20)), 0)
    assert sorted(one) == list(range(20))
    np.testing.assert_array_equal(one, shuffled(0, [1, 2], list(range(20)), 0))
    for other in (shuffled(1, [1, 2], list(range(20)), 0), shuffled(0, [1, 2], list(range(20)), 1)):
        assert (one != other).any()


def test_a_share_of_histories_is_drawn() -> None:
    drawn = [is_drawn(0, [item], 0.25) for item in range(2000)]
    assert 420 < sum(drawn) < 580
    assert all(is_drawn(0, [item], 1.0) for item in range(50))
    # a larger share holds a smaller one
    assert all(is_drawn(0, [item], 0.5) for item in range(2000) if drawn[item])


# answers


@pytest.mark.parametrize(
    ("answer", "order"),
    [
        ("[2]\n[1]\n[5]\n[4]\n[3]", (1, 0, 4, 3, 2)),
        ("[2] > [1] > [5]", (1, 0, 4)),
        ("[2, 1, 5]", (1, 0, 4)),
        ('{"ranking": [2, 1, 5]}', (1, 0, 4)),
        ("2, 1, 5", (1, 0, 4)),
        ("2\n1\n5", (1, 0, 4)),
        ("1. 2\n2. 1\n3. 5", (1, 0, 4)),
        ("1. [2]\n2. [1]\n3. [5]", (1, 0, 4)),
        ("[2] Brass saw 40 cm\n[1] Steel drill", (1, 0)),
        ("1. Brass saw 40 cm\n2. Steel drill\n3. glove", (1, 0, 4)),
        ("- **Brass Saw, 40 cm**\n- 'steel drill'", (1, 0)),
        ("Steel drill bits\nSteel drill", (3, 0)),
        ("1. Copper wire, insula\n2. Brass saw 40 cn", (2, 1)),
        ("1. Steel drill bits because you chose a hose", (3,)),
        ("Here is my ranking of the glove and more:\n[2]\n[1]", (1, 0)),
        ("<think>[5] first? [4] then?</think>\n[2]\n[1]", (1, 0)),
        ("", ()),
        ("I am sorry, but I cannot do that.", ()),
    ],
)
def test_answers_of_many_forms_are_read(answer: str, order: tuple[int, ...]) -> None:
    reading = read_answer(answer, TITLES)
    assert reading == Reading(order, len(TITLES))
    assert reading.missing == len(TITLES) - len(order)


def test_nonsense_in_answers_is_counted() -> None:
    reading = read_answer("[2]\n[17]\n[0]\n[2]\n1. Golden hammer\n[1] Glove\n2. Glove\n[1]", TITLES)
    assert reading == Reading((1, 4, 0), 5, hallucinated=1, wrong_numbers=3, repeated=2)


def test_items_of_one_title_are_named_one_after_the_other() -> None:
    assert read_answer("1. Saw\n2. Saw\n3. Saw", ("Hose", "Saw", "Saw")) == Reading((1, 2), 3, repeated=1)


@settings(deadline=None)
@given(
    st.text("12 [],.)>-abc\n\u0130\u00df<", max_size=60),
    st.lists(st.text("ab12 -[]\u0130\u00df", min_size=1, max_size=8), min_size=2, max_size=5),
)
def test_no_answer_is_too_odd_to_be_read(answer: str, titles: list[str]) -> None:
    reading = read_answer(answer, titles)
    assert len(set(reading.order)) == len(reading.order)
    assert set(reading.order) <= set(range(len(titles)))


@settings(deadline=None)
@given(st.permutations(range(len(TITLES))), st.booleans())
def test_a_proper_answer_is_read_as_it_is(order: list[int], with_titles: bool) -> None:
    lines = [f"[{place + 1}] {TITLES[place] if with_titles else ''}" for place in order]
    assert read_answer("\n".join(lines), TITLES) == Reading(tuple(order), len(TITLES))


def test_mean_ranks_put_what_is_missing_behind_what_is_named() -> None:
    ranks = [Reading((2, 0), 4).ranks(), Reading((1, 0, 2, 3), 4).ranks()]
    # of the first answer: 2, 3 (missing), 1, 4 (missing)
    np.testing.assert_array_equal(mean_ranks(ranks), [2, 2, 2, 4])
    np.testing.assert_array_equal(mean_ranks([Reading((), 3).ranks()]), [1, 2, 3])


# servers


def endpoint(server: Server, **options: object) -> tuple[Endpoint, list[float]]:
    """A client of a server, and the waits that it makes instead of waiting."""
    waits: list[float] = []
    return Endpoint(server.url, "tiny", "secret-key", sleep=waits.append, **options), waits


def test_an_answer_of_a_server_is_taken_with_its_tokens(server: Server) -> None:
    client, _ = endpoint(server)
    assert client.answer(PROMPT, 40) == Answer(backwards(PROMPT), 100, 10)
    ((headers, body),) = server.requests
    assert headers["Authorization"] == "Bearer secret-key"
    asked = {"model": "tiny", "messages": [{"role": "user", "content": PROMPT}], "temperature": 0, "max_tokens": 40}
    assert body == asked
    assert "secret-key" not in repr(client)
    assert "secret-key" not in client.identity


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "many", "completion_tokens": -1}, [1]])
def test_without_a_count_tokens_are_the_most_that_there_can_be(server: Server, usage: object) -> None:
    server.replies = [completion("[1]", usage)]
    answer = endpoint(server)[0].answer(PROMPT, 40)
    assert answer == Answer("[1]", most_tokens(PROMPT, 0), 3, counted=False)


def test_an_answer_without_a_text_is_an_empty_one(server: Server) -> None:
    server.replies = [completion(None)]
    assert endpoint(server)[0].answer(PROMPT, 40).text == ""


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again_after_ever_longer_waits(server: Server, status: int) -> None:
    server.replies = [Reply({"error": {"message": "busy"}}, status)] * 3
    client, waits = endpoint(server)
    assert client.answer(PROMPT, 40).tokens == 110
    assert len(server.requests) == 4
    np.testing.assert_allclose(waits, [1, 2, 4], atol=0.5)


def test_a_wait_that_the_server_asks_for_is_kept(server: Server) -> None:
    for wait in ("7", formatdate(time.time() + 7, usegmt=True)):
        server.replies = [Reply({}, 429, {"Retry-After": wait})]
        client, waits = endpoint(server)
        client.answer(PROMPT, 40)
        np.testing.assert_allclose(waits, [7], atol=2)
    # what is no time is passed over
    server.replies = [Reply({}, 429, {"Retry-After": "soon"})]
    client, waits = endpoint(server)
    client.answer(PROMPT, 40)
    np.testing.assert_allclose(waits, [1], atol=0.5)


def test_a_wait_of_an_hour_is_an_error(server: Server) -> None:
    server.replies = [Reply({"error": {"message": "quota"}}, 429, {"Retry-After": "3600"})]
    client, waits = endpoint(server)
    with pytest.raises(NoAnswer, match=r"asks to wait for 3600 seconds .*quota.*answers so far are kept"):
        client.answer(PROMPT, 40)
    assert waits == []


def test_a_server_that_stays_busy_is_an_error(server: Server) -> None:
    server.always = lambda _: Reply({"error": {"message": "no capacity"}}, 503)
    client, waits = endpoint(server, retries=2)
    with pytest.raises(NoAnswer, match=r"asked 3 times.*status 503 \(no capacity\).*answers so far are kept"):
        client.answer(PROMPT, 40)
    assert len(waits) == 2


def test_a_silent_server_is_asked_again(server: Server) -> None:
    server.replies = [Reply(wait=0.5)]
    client, waits = endpoint(server, timeout=0.1)
    assert client.answer(PROMPT, 40).tokens == 110
    assert len(waits) == 1
    server.always = lambda _: Reply(wait=0.3)
    client, _ = endpoint(server, timeout=0.05, retries=1)
    with pytest.raises(NoAnswer, match=r"silent for 0\.05 seconds"):
        client.answer(PROMPT, 40)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (
            Reply({"error": {"message": "bad key secret-key"}}, 401),
            r"refused the key .*bad key \*\*\*.*RAW2RANK_LLM_KEY",
        ),
        (Reply({"error": {"message": "no model tiny"}}, 404), r"does not know the model tiny.*RAW2RANK_LLM_MODEL"),
        (Reply({"error": "context too long"}, 400), r"refused the question \(status 400\) \(context too long\)"),
        (Reply(b"<html>", 400), r"refused the question \(status 400\)$"),
        (Reply({}, 302, {"Location": "http://127.0.0.1:1/"}), "leads to another address"),
        (Reply(b"<html>hello</html>"), "no chat completion"),
        (Reply({"choices": []}), "no chat completion"),
        (Reply([1]), "no chat completion"),
        (Reply({"choices": [{"message": {"content": 7}}]}), "no chat completion"),
    ],
)
def test_what_asking_again_does_not_change_is_an_error_in_one_sentence(
    server: Server, reply: Reply, message: str
) -> None:
    server.replies = [reply]
    client, waits = endpoint(server)
    with pytest.raises(NoAnswer, match=message) as raised:
        client.answer(PROMPT, 40)
    assert "secret-key" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert (len(server.requests), waits) == (1, [])


def test_a_server_that_is_not_there_is_an_error_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    waits: list[float] = []
    client = Endpoint(f"http://127.0.0.1:{port}/v1", "tiny", sleep=waits.append)
    with pytest.raises(NoAnswer, match=r"cannot be reached \(.*refused.*RAW2RANK_LLM_URL"):
        client.answer(PROMPT, 40)
    assert waits == []


def test_a_server_that_was_there_is_waited_for() -> None:
    with serve() as server:
        client, waits = endpoint(server, retries=2)
        client.answer(PROMPT, 40)
    with pytest.raises(NoAnswer, match=r"asked 3 times.*the connection failed"):
        client.answer(PROMPT, 40)
    assert len(waits) == 2


@pytest.mark.parametrize(
    ("url", "key", "message"),
    [
        ("ftp://127.0.0.1", "", "must be the address of an API"),
        ("127.0.0.1:8000", "", "must be the address of an API"),
        ("http://me:secret-key@127.0.0.1", "", "must hold no key"),
        ("http://127.0.0.1/v1?key=secret-key", "", "must hold no key"),
        ("http://[", "", "must be the address of an API"),
        ("http://127.0.0.1:many/v1", "", "must be the address of an API"),
        ("http://exämple/v1", "", "must be the address of an API"),
        ("http://127.0.0.1", "secret-key\n", "line break"),
        ("http://127.0.0.1", "secret-key…", "no key has"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(url: str, key: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        Endpoint(url, "tiny", key)
    assert "secret-key" not in str(raised.value)


# the cache and the budget


def prompts(number: int) -> list[str]:
    return [prompt_of("sequential", [f"Hose {place}"], TITLES) for place in range(number)]


def test_a_question_is_asked_once_and_kept(tmp_path: Path) -> None:
    path, model = tmp_path / "deep" / "answers.sqlite", AlphabeticalModel()
    asked = prompts(3)
    first = Asker(model, KeptAnswers(path), 0, 40).ask([*asked, *asked])
    assert model.asked == asked
    assert first[:3] == first[3:]
    later = AlphabeticalModel()
    assert Asker(later, KeptAnswers(path), 0, 40).ask(asked) == first[:3]
    assert later.asked == []
    # another model, and another length, are other questions
    other = AlphabeticalModel(identity="other")
    Asker(other, KeptAnswers(path), 0, 40).ask(asked)
    Asker(other, KeptAnswers(path), 0, 41).ask(asked)
    assert len(other.asked) == 6


def test_what_was_answered_before_an_error_is_not_asked_again(server: Server, tmp_path: Path) -> None:
    path, asked = tmp_path / "answers.sqlite", prompts(6)
    server.replies = [completion("[1]")] * 4 + [Reply({}, 401)]
    with pytest.raises(NoAnswer, match="refused the key"):
        Asker(endpoint(server, at_once=1)[0], KeptAnswers(path), 0, 40).ask(asked)
    found = Asker(endpoint(server, at_once=2)[0], KeptAnswers(path), 0, 40).ask(asked)
    assert [answer.text for answer in found if answer][:4] == ["[1]"] * 4
    # four, the one that was refused, and the last two
    assert len(server.requests) == 7


def test_several_questions_are_asked_at_a_time(server: Server) -> None:
    server.always = lambda prompt: Reply(completion(backwards(prompt)).body, wait=0.1)
    began = time.perf_counter()
    found = Asker(endpoint(server, at_once=8)[0], KeptAnswers(), 0, 40).ask(prompts(8))
    assert time.perf_counter() - began < 0.6
    assert [answer.text for answer in found if answer] == [backwards(prompt) for prompt in prompts(8)]


@pytest.mark.parametrize("at_once", [1, 3, 16])
@pytest.mark.parametrize("known", [0, 5])
def test_the_budget_ends_the_asking_at_the_same_question_always(server: Server, at_once: int, known: int) -> None:
    """Whatever is asked at a time, and whatever was answered before."""
    asked, kept = prompts(20), KeptAnswers()
    Asker(endpoint(server)[0], kept, 0, 40).ask(asked[:known])
    # each question takes 110 tokens and may take ``most``
    most = most_tokens(asked[0], 40)
    budget = 8 * 110 + most
    asker = Asker(endpoint(server, at_once=at_once)[0], kept, budget, 40)
    answered = [answer is not None for answer in asker.ask(asked)]
    assert answered == [True] * sum(answered) + [False] * (20 - sum(answered))
    assert sum(answered) == 9
    assert asker.stopped
    assert asker.spent <= budget
    # asked again, the same are answered and no other
    assert [answer is not None for answer in asker.ask(asked)] == answered
    assert len(server.requests) == 9


def test_a_killed_process_loses_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    script = (
        "import os, signal, sys; from pathlib import Path; from ml.language_models.answers import Answer, KeptAnswers\n"
        "kept = KeptAnswers(Path(sys.argv[1]))\n"
        "for place in range(3): kept.keep(str(place), Answer(f'[{place}]', 1, 1))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script, str(path)], env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = KeptAnswers(path)
    assert [kept.get(str(place)) for place in range(3)] == [Answer(f"[{place}]", 1, 1) for place in range(3)]
    assert kept.get("3") is None
    kept.close()


def test_a_damaged_cache_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    path.write_bytes(b"no database " * 100)
    with pytest.raises(ValueError, match=r"answers\.sqlite cannot be used as the cache.*remove it"):
        KeptAnswers(path)


def test_the_cache_lies_in_the_workspace_unless_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    assert cache_file() == tmp_path / "llm_answers.sqlite"
    monkeypatch.setenv("RAW2RANK_LLM_CACHE", str(tmp_path / "mine"))
    assert cache_file() == tmp_path / "mine"
    for name in ("RAW2RANK_LLM_CACHE", "RAW2RANK_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_file() == tmp_path / "caches" / "raw2rank" / "llm_answers.sqlite"
