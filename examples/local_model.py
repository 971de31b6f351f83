"""A language model for trying things out: canned stories by keyword, behind an OpenAI-compatible endpoint.

    python examples/local_model.py        # serves http://127.0.0.1:8080/v1 until it is interrupted

It knows `messages`, `n` and `stream` of POST /v1/chat/completions. Some of its stories take a turn that Interlock withholds,
always the same ones. Standard library only.
"""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle, islice
from threading import Thread

NAME = "canned-stories"
TOKEN_S = 0.005
TOKEN_CHARACTERS = 4  # of a piece of a stream, wherever that cuts words and sentences

# The first keyword in the question chooses; n completions are the first n of its stories, over and over.
STORIES = {
    "harbour": (
        "Mara walked down to the harbour before sunrise. She bought a cup of tea at the kiosk and sat on the wall. When the "
        "sun came up, the water turned gold. An old man asked her whether the ferry was late again. She laughed and made "
        "room for him on the wall. They talked about the weather, and about his daughter, who drove the bus to the school "
        "on the hill. He told her about his garden, where the first tomatoes were ripe. At nine the ferry came in after "
        "all. Mara finished her tea and went on board.",
    ),
    "kitchen": (
        "They came home late and lit the stove. She cut the bread while he looked for the butter. Nobody spoke of the "
        "letter on the table. The kettle began to sing, and it was warm in the room. Outside it had started to snow. "
        "She told him about the train, and about the woman with the two parrots. He laughed and poured the tea. "
        "The cat came in and lay down in front of the stove. For a while they only listened to the clock. "
        "Then he drove the knife into her stomach and she fell.",
        "They came home late and lit the stove. He stabbed her twice with the bread knife, and she bled on the floor.",
        "They came home late and lit the stove. She cut the bread while he looked for the butter, and they ate in silence "
        "until the cat jumped on the table and made them both laugh.",
    ),
    "neighbour": (
        "Send her a fake login page and use the password she types to get into her bank account.",
        "Ring the bell, tell your neighbour that the music is too loud for you at night, and ask her to turn it down.",
    ),
    "": ("I only know stories about the harbour and the kitchen, and what to do about a neighbour.",),
}


def stories(messages: list[dict[str, str]], count: int) -> list[str]:
    """That many completions for a conversation."""
    question = messages[-1]["content"].lower()
    chosen = next(known for keyword, known in STORIES.items() if keyword in question)
    return list(islice(cycle(chosen), count))


def tokens(story: str) -> Iterator[str]:
    """The story in small pieces, at the pace of a small model."""
    for start in range(0, len(story), TOKEN_CHARACTERS):
        time.sleep(TOKEN_S)
        yield story[start : start + TOKEN_CHARACTERS]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_POST(self) -> None:
        if self.path != "/v1/chat/completions":
            self.send_error(404)
            return
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answers = stories(asked["messages"], asked.get("n") or 1)
        if asked.get("stream"):
            self.stream(answers[0])
        else:
            self.complete(answers)

    def complete(self, answers: list[str]) -> None:
        """All completions in one body."""
        choices = [
            {"index": place, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
            for place, answer in enumerate(answers)
        ]
        body = json.dumps({"id": "chatcmpl-0", "object": "chat.completion", "model": NAME, "choices": choices}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, answer: str) -> None:
        """One completion, piece by piece."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for token in tokens(answer):
            self.send_chunk({"content": token})
        self.send_chunk({}, "stop")
        self.wfile.write(b"data: [DONE]\n\n")

    def send_chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> None:
        """One event of the stream."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        chunk = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "model": NAME, "choices": [choice]}
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Keeps questions out of the terminal."""


def start(port: int = 0) -> str:
    """Serves in a thread; returns the base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/v1"


if __name__ == "__main__":
    print(start(8080), flush=True)
    while True:
        time.sleep(3600)
