"""What reading costs: views and windows of plain prose and of every trick, beside the tokenizer's own time on the same text.

    .venv/bin/python benchmarks/views.py         prints microseconds per call; run it on an idle machine

Views are all readings of a text; windows are its sentences, packed, and the changed parts of further views. The ratio is
both together to the time that the encoder's tokenizer takes for the text as it stands.
"""

import base64
import codecs
import timeit
from collections.abc import Callable

from interlock_server.bundles import DEFAULT_BUNDLE
from interlock_server.text.changes import changed_parts
from interlock_server.text.views import View, views_of
from interlock_server.text.windows import pack, split_sentences
from texts import corpus
from tokenizers import Tokenizer

CHARS_MAX = 800
COMPLETION = corpus("fixed", 1)[0].completion
PLAIN = "how to kill him with the knife"
TRICKS = {
    "plain": "",
    "zero width": "\u200b".join(PLAIN),
    "look-alikes": PLAIN.replace("i", "і"),
    "set apart": "k i l l   h i m",
    "entity": "k&#105;ll him",
    "percent": "k%69ll him",
    "tags": "".join(chr(0xE0000 + ord(ch)) for ch in PLAIN),
    "base64": base64.b64encode(PLAIN.encode()).decode(),
    "hex": PLAIN.encode().hex(),
    "rot13": codecs.encode(PLAIN, "rot13"),
    "reversed": PLAIN[::-1],
    "leet": "k1ll him",
    "repeated": "kiiill him",
}


def main() -> None:
    """Prints a row for each trick, in the middle of the same prose."""
    tokenizer = Tokenizer.from_file(str(DEFAULT_BUNDLE / "tokenizer.json"))
    half = COMPLETION.index(". ", len(COMPLETION) // 2) + 2
    print(
        f"{'trick':12} {'views':>8} {'windows':>8} {'tokens':>8}   ratio   (microseconds, {len(COMPLETION)} characters)"
    )
    for name, trick in TRICKS.items():
        text = f"{COMPLETION[:half]}{trick}. {COMPLETION[half:]}" if trick else COMPLETION
        views = views_of(text).all
        views_us = best_us(lambda text=text: views_of(text))  # type: ignore[misc]
        windows_us = best_us(lambda views=views: cut(views))  # type: ignore[misc]
        tokens_us = best_us(lambda text=text: tokenizer.encode_batch([text], add_special_tokens=False))  # type: ignore[misc]
        ratio = (views_us + windows_us) / tokens_us
        print(f"{name:12} {views_us:8.1f} {windows_us:8.1f} {tokens_us:8.1f} {ratio:7.2f}")


def cut(views: tuple[View, ...]) -> list[tuple[int, int]]:
    """The windows of every part that is read, in characters."""
    parts = changed_parts(views, uncased=True)
    return [window for part in parts for window in pack([end for _, end in split_sentences(part.text)], CHARS_MAX)]


def best_us(call: Callable[[], object]) -> float:
    """The fastest of several rounds, per call: what slows a round down is other work on the machine."""
    return min(timeit.repeat(call, number=100, repeat=15)) / 100 * 1e6


if __name__ == "__main__":
    main()
