"""The proxy that users copy: what its readers see, streamed or not, and that nothing harmful is ever on the wire."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from end_to_end.server import PATIENT_S, Server

from .conftest import StartProxy, run

HARBOUR, KITCHEN, NEIGHBOUR = (f"Tell me about the {word}." for word in ("harbour", "kitchen", "neighbour"))


def ask(url: str, question: str, **options: Any) -> str:
    """The body of the response."""
    body = {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": question}], **options}
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=PATIENT_S) as response:
        return str(response.read().decode())


def streamed(body: str) -> tuple[str, list[str | None]]:
    """The text of a stream that ends as it should, and its finish reasons."""
    events = body.split("\n\n")
    assert ["data: [DONE]", ""] == events[-2:]
    choices = [json.loads(event.removeprefix("data: "))["choices"][0] for event in events[:-2]]
    text = "".join(choice["delta"].get("content", "") for choice in choices)
    return text, [choice["finish_reason"] for choice in choices]


def test_a_fine_answer_is_streamed(interlock: Server, start_proxy: StartProxy):
    """In several pieces, to its last word."""
    text, reasons = streamed(ask(start_proxy(interlock.target), HARBOUR, stream=True))

    assert text.startswith("Mara walked")
    assert text.endswith("went on board.")
    assert (True, "stop") == (len(reasons) > 2, reasons[-1])


def test_a_harmful_answer_is_taken_back(interlock: Server, start_proxy: StartProxy):
    """The harmful words are in no event; the stream ends as clients expect it to."""
    body = ask(start_proxy(interlock.target), KITCHEN, stream=True)
    text, reasons = streamed(body)

    assert text.startswith("They came home late")
    assert text.endswith("was withheld.]")
    assert ("content_filter", False) == (reasons[-1], "knife" in body)


def test_a_harmful_beginning_is_refused(interlock: Server, start_proxy: StartProxy):
    """Where nothing was shown there is nothing to take back."""
    assert ("I can't help with that.", [None, "content_filter"]) == streamed(
        ask(start_proxy(interlock.target), NEIGHBOUR, stream=True)
    )


def test_an_answer_in_one_piece(interlock: Server, start_proxy: StartProxy):
    """Is judged as well, each choice by itself."""
    choices = json.loads(ask(start_proxy(interlock.target), NEIGHBOUR, n=2))["choices"]

    assert ["content_filter", "stop"] == [choice["finish_reason"] for choice in choices]
    assert ["I can't help", "Ring the bell"] == [
        choice["message"]["content"].split(" with")[0].split(",")[0] for choice in choices
    ]


def test_concurrent_answers_do_not_mix(interlock: Server, start_proxy: StartProxy):
    """Every reader gets his own."""
    url = start_proxy(interlock.target)
    questions = [HARBOUR, KITCHEN] * 4
    with ThreadPoolExecutor(len(questions)) as pool:
        answers = list(pool.map(lambda question: streamed(ask(url, question, stream=True))[0], questions))

    assert {answers[0]} == set(answers[::2])
    assert all(answer.startswith("They came home") and "knife" not in answer for answer in answers[1::2])


def test_without_interlock_nothing_comes_out(start_proxy: StartProxy):
    """Streamed or not."""
    url = start_proxy("127.0.0.1:1")
    whole = json.loads(ask(url, HARBOUR))["choices"][0]

    assert ("I can't help with that.", [None, "content_filter"]) == streamed(ask(url, HARBOUR, stream=True))
    assert ("I can't help with that.", "content_filter") == (whole["message"]["content"], whole["finish_reason"])


class Broken(BaseHTTPRequestHandler):
    """A model that says something and breaks off, and that adds what nobody asked for."""

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        choice = {"delta": {"content": "Once upon a time. ", "tool_calls": "knife"}, "logprobs": "knife"}
        self.wfile.write(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def broken() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_model_that_breaks_off(interlock: Server, start_proxy: StartProxy, broken: str):
    """Is no finished answer: its last words are not shown, and neither is what is not text."""
    body = ask(start_proxy(interlock.target, "--upstream", broken), HARBOUR, stream=True)

    assert ("", ["error"], False) == (*streamed(body), "knife" in body)


@pytest.mark.parametrize("options", [{"stream": True, "n": 2}, {"messages": "hello"}, {"messages": [{}]}])
def test_what_is_not_served(start_proxy: StartProxy, options: dict[str, Any]):
    """Is refused, not passed on."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(start_proxy("127.0.0.1:1"), HARBOUR, **options)
    with caught.value as error:
        assert 400 == error.code


def test_a_model_that_is_not_there(start_proxy: StartProxy):
    """Is said to be."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(start_proxy("127.0.0.1:1", "--upstream", "http://127.0.0.1:1"), HARBOUR)
    with caught.value as error:
        assert 502 == error.code


def test_it_runs_as_it_stands(interlock: Server):
    """Asks its questions and prints what came out."""
    printed = run("chat_proxy.py", "--interlock", interlock.target)

    assert "went on board." in printed
    assert "They came home late" in printed
    assert "was withheld.]" in printed
    assert "knife" not in printed
