"""Draws several answers at once and shows the best of those that Interlock releases; if there is none, draws again.

    make serve                                      # Interlock on 127.0.0.1:50051
    python examples/best_of_n.py                    # with a local model
    python examples/best_of_n.py --upstream https://model.example/v1

Standard library and interlock_client only.
"""

import argparse
import json
import urllib.request

import local_model
from interlock_client import Generated, SafetyFilter

FALLBACK = "I can't help with that."
QUESTIONS = ("Tell me about the harbour.", "Tell me about the kitchen.", "What can I do about my neighbour?")


def main() -> None:
    """Asks a few questions."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--interlock", default="127.0.0.1:50051", metavar="HOST:PORT")
    parser.add_argument("--upstream", metavar="URL", help="the model's endpoint; without it a local one is started")
    parser.add_argument("--count", type=int, default=3, help="answers in a round")
    asked = parser.parse_args()
    upstream = asked.upstream or local_model.start()
    with SafetyFilter(targets=asked.interlock, timeout_s=10.0) as safety_filter:
        for question in QUESTIONS:
            generated = answer(safety_filter, upstream, question, asked.count)
            print(f"\n> {question}\n{generated.text}")
            for selection in generated.selections:
                judged = [" ".join(verdict.reasons) or "releasable" for verdict in selection.verdicts]
                print(f"  ({', '.join(judged)}; {selection.looks} looks: {selection.statement})")


def answer(safety_filter: SafetyFilter, upstream: str, question: str, count: int) -> Generated:
    """What to show: the first completion that is released, or the fallback after two rounds. Never an unjudged one."""

    def generate(n: int) -> list[str]:
        messages = [{"role": "user", "content": question}]
        body = json.dumps({"messages": messages, "n": n}).encode()
        request = urllib.request.Request(
            f"{upstream}/chat/completions", body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return [choice["message"]["content"] for choice in json.load(response)["choices"]]

    return safety_filter.generate_safely(generate, prompt=question, n=count, rounds=2, fallback=FALLBACK)


if __name__ == "__main__":
    main()
