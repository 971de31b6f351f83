"""An OpenAI-compatible proxy that shows nothing of a model's answer before Interlock has released it, streamed or not.

    make serve                                                # Interlock on 127.0.0.1:50051
    python examples/chat_proxy.py                             # a local model, the proxy, three questions
    python examples/chat_proxy.py --serve --upstream https://model.example/v1

A withheld answer ends with `finish_reason` "content_filter". Of what the model sends only the text is passed on: the rest
(tool calls, log probabilities) nobody has judged. Standard library and interlock_client only.
"""

import argparse
import json
import time
import urllib.request
import uuid
from collections.abc import Iterator
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import local_model
from interlock_client import Exchange, SafetyFilter, Withheld

REFUSAL = "I can't help with that."
RETRACTION = "\n[Please disregard this answer; the rest of it was withheld.]"
PASSED_ON = ("model", "messages", "max_tokens", "temperature", "top_p", "seed", "stop", "stream", "n")
QUESTIONS = ("Tell me about the harbour.", "Tell me about the kitchen.", "What can I do about my neighbour?")


def main() -> None:
    """Serves, or asks a few questions."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--interlock", default="127.0.0.1:50051", metavar="HOST:PORT")
    parser.add_argument("--upstream", metavar="URL", help="the model's endpoint; without it a local one is started")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--serve", action="store_true", help="until it is interrupted")
    asked = parser.parse_args()
    with SafetyFilter(targets=asked.interlock, timeout_s=10.0) as safety_filter:
        proxy = ChatProxy(asked.port if asked.serve else 0, asked.upstream or local_model.start(), safety_filter)
        print(proxy.url, flush=True)
        if asked.serve:
            proxy.serve_forever()
        Thread(target=proxy.serve_forever, daemon=True).start()
        for question in QUESTIONS:
            body = json.dumps({"messages": [{"role": "user", "content": question}], "stream": True}).encode()
            print(f"\n> {question}\n", *deltas(urllib.request.urlopen(f"{proxy.url}/chat/completions", body)), sep="")


class ChatProxy(ThreadingHTTPServer):
    """Where answers come from, and who judges them. One filter serves all requests."""

    def __init__(self, port: int, upstream: str, safety_filter: SafetyFilter) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.upstream = upstream
        self.safety_filter = safety_filter


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: ChatProxy

    def do_POST(self) -> None:
        try:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            turns = [turn_of(message) for message in asked["messages"]]
            if self.path != "/v1/chat/completions" or (asked.get("stream") and (asked.get("n") or 1) != 1):
                raise ValueError  # a stream has one choice: several would have to be guarded apart
        except (LookupError, TypeError, ValueError, AttributeError):
            return self.send_json(400, {"error": {"message": "this is not served here"}})
        body = json.dumps({name: asked[name] for name in PASSED_ON if name in asked}).encode()
        headers = {"Content-Type": "application/json", "Authorization": self.headers.get("Authorization", "")}
        request = urllib.request.Request(f"{self.server.upstream}/chat/completions", body, headers)
        try:
            response = urllib.request.urlopen(request, timeout=60)
            answers = [] if asked.get("stream") else json.load(response)["choices"]
            texts = [answer["message"]["content"] for answer in answers]
        except (OSError, LookupError, TypeError, ValueError):  # what it says instead nobody has judged
            return self.send_json(502, {"error": {"message": "the model does not answer"}})
        return self.stream(response, turns) if asked.get("stream") else self.complete(texts, turns)

    def complete(self, texts: list[str], turns: Any) -> None:
        """Every choice is judged by itself."""
        choices = []
        verdicts = self.server.safety_filter.screen_batch(Exchange(turns=turns, completion=text) for text in texts)
        for place, verdict in enumerate(verdicts):
            text, reason = (texts[place], "stop") if verdict else (REFUSAL, "content_filter")
            choices.append({"index": place, "message": {"role": "assistant", "content": text}, "finish_reason": reason})
        self.send_json(200, {**envelope("chat.completion"), "choices": choices})

    def stream(self, response: HTTPResponse, turns: Any) -> None:
        """Sends what is released as soon as it is. Leaving the block, for whatever reason, ends the model's answer too."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        chunk, finish_reason = envelope("chat.completion.chunk"), "stop"
        with self.server.safety_filter.guard(deltas(response), turns=turns) as guard:
            try:
                for text in guard:
                    self.send_event(chunk, {"content": text})
            except Withheld as withheld:
                finish_reason = "content_filter"
                self.send_event(chunk, {"content": RETRACTION if withheld.verdict.released_bytes else REFUSAL})
            except Exception:  # the model broke off
                finish_reason = "error"
        self.send_event(chunk, {}, finish_reason)
        self.wfile.write(b"data: [DONE]\n\n")

    def send_event(self, chunk: dict[str, Any], delta: dict[str, str], finish_reason: str | None = None) -> None:
        content = {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}
        self.wfile.write(b"data: " + json.dumps(content).encode() + b"\n\n")

    def send_json(self, status: int, content: dict[str, Any]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Keeps the terminal for the answers."""


def deltas(response: HTTPResponse) -> Iterator[str]:
    """The text of a streamed answer. One that ends without [DONE] broke off, and its last words are not released."""
    with response:
        for line in response:
            data = line.removeprefix(b"data:").strip()
            if data == b"[DONE]":
                return
            if line.startswith(b"data:"):
                yield from (choice["delta"].get("content") or "" for choice in json.loads(data)["choices"])
    raise ConnectionAbortedError


def turn_of(message: dict[str, Any]) -> tuple[Any, str]:
    """A message as Interlock wants it: who said what. Of several parts those that are text count."""
    content = message.get("content") or ""
    text = content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)
    return message["role"] if message["role"] in ("system", "user", "assistant") else "", text


def envelope(kind: str) -> dict[str, Any]:
    """What every response begins with."""
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": "guarded"}


if __name__ == "__main__":
    main()
