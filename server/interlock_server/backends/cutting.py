"""From an exchange to windows: what each kind of member is shown. Tokenising happens here, once per view.

A view without a single token yields no window: the member then has no evidence, which withholds.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from interlock_server.backends.backend import Ids, Reading, Span, Window
from interlock_server.bundle.manifest import MemberReads
from interlock_server.text.changes import changed_parts
from interlock_server.text.exchange import Exchange
from interlock_server.text.views import View
from interlock_server.text.windows import cut, pack

# No tokenizer in use makes fewer than one token of this many characters of prose; longer prompts are sliced before.
CHARS_PER_TOKEN_MAX = 32


class Encoding(Protocol):
    """The part of a tokenizer's answer that is used: ids, and for each the span of characters it came from."""

    @property
    def ids(self) -> list[int]:
        """Token ids."""

    @property
    def offsets(self) -> list[Span]:
        """Character span of each token."""


class Tokens(NamedTuple):
    """A tokenizer and the ids that frame what it reads: `start prompt between piece end`, or `start piece end`."""

    encode: Callable[[str], Encoding]
    start: tuple[int, ...]
    between: tuple[int, ...]
    end: tuple[int, ...]


def views_to_read(exchange: Exchange, views: Sequence[str], uncased: bool) -> Sequence[View]:
    """The raw view and, for a member that reads canonical text, what is new in each further view; or nothing.

    An exchange that is unreadable has views that nobody made, so that nothing may be said about it.
    """
    if exchange.unreadable:
        return ()
    if "canonical" not in views:
        return exchange.views[:1]
    return exchange.once(("parts", uncased), lambda: changed_parts(exchange.views, uncased))


def token_windows(exchange: Exchange, reads: MemberReads, tokens: Tokens) -> Reading:
    """Windows of (prompt, piece), or single sentences, as the manifest says."""
    views = views_to_read(exchange, reads.views, reads.uncased)
    if reads.input == "sentences":
        return sentence_windows(exchange, views, tokens, reads.tokens_max)
    return exchange_windows(exchange, views, tokens, reads.tokens_max, reads.prompt_tokens_max)


def exchange_windows(
    exchange: Exchange, views: Iterable[View], tokens: Tokens, tokens_max: int, prompt_max: int
) -> Reading:
    """`[CLS] prompt [SEP] piece [SEP]` for each piece of each view; of a long prompt the head and the tail are shown.

    With a `prompt_max` of 0 the piece is shown alone, as to a model that was trained on single texts.
    """
    prompt_ids, prompt_spans = _read_prompt(exchange.prompt, tokens, prompt_max)
    framed_prompt = [*prompt_ids, *tokens.between] if prompt_max else []
    head = np.array([*tokens.start, *framed_prompt], dtype=np.int64)
    context_size = len(head) if prompt_max else 0
    size_max = tokens_max - len(head) - len(tokens.end)
    windows: list[Window] = []
    input_tokens = len(prompt_ids)
    for view in views:
        text = _tokenized(exchange, view, tokens)
        input_tokens += text.size if view.name == "raw" else 0
        for first, last in pack(text.sentence_ends, size_max) if text.size else ():
            windows.append(Window(text.framed(head, first, last), view.name, text.span(first, last), context_size))
    return Reading(windows, prompt_spans, input_tokens)


def sentence_windows(exchange: Exchange, views: Iterable[View], tokens: Tokens, tokens_max: int) -> Reading:
    """`[CLS] sentence [SEP]`, each sentence on its own, so that nothing around it can change its score."""
    head = np.array(tokens.start, dtype=np.int64)
    size_max = tokens_max - len(head) - len(tokens.end)
    windows: list[Window] = []
    input_tokens = 0
    for view in views:
        text = _tokenized(exchange, view, tokens)
        input_tokens += text.size if view.name == "raw" else 0
        for start, end in pairwise([0, *text.sentence_ends]):
            for first, last in cut(start, end, size_max, size_max * 3 // 4):
                windows.append(Window(text.framed(head, first, last), view.name, text.span(first, last)))
    return Reading(windows, input_tokens=input_tokens)


def character_windows(views: Iterable[View], features: Callable[[str], Ids], chars_max: int) -> Reading:
    """Runs of whole sentences of at most `chars_max` characters, each as its set of features."""
    windows = []
    for view in views:
        for first, last in pack([end for _, end in view.sentences], chars_max) if view.text else ():
            windows.append(Window(features(view.text[first:last]), view.name, view.byte_span(first, last)))
    return Reading(windows)


def _tokenized(exchange: Exchange, view: View, tokens: Tokens) -> "_Tokenized":
    """Members with the same tokenizer share its work, which one lane does while the others wait for it."""
    return exchange.once((tokens, view), lambda: _Tokenized(view, tokens))


class _Tokenized:
    """A view as tokens. Token i stands for the characters from its start to the start of token i + 1."""

    def __init__(self, view: View, tokens: Tokens) -> None:
        encoding = tokens.encode(view.text)
        self.size = len(encoding.ids)
        self._view = view
        self._ids = np.array(encoding.ids, dtype=np.int64)
        self._end = np.array(tokens.end, dtype=np.int64)
        self._starts: NDArray[np.int64] = np.array([s for s, _ in encoding.offsets] + [len(view.text)], dtype=np.int64)
        self._starts[0] = 0

    @cached_property
    def sentence_ends(self) -> list[int]:
        """The positions at which sentences end, in tokens: increasing, the last one is the number of tokens."""
        char_ends = [end for _, end in self._view.sentences]
        ends: list[int] = np.searchsorted(self._starts[:-1], char_ends).tolist()
        return [end for before, end in pairwise([0, *ends]) if end > before]

    def framed(self, head: Ids, first: int, last: int) -> Ids:
        return np.concatenate([head, self._ids[first:last], self._end])

    def span(self, first: int, last: int) -> Span:
        return self._view.byte_span(int(self._starts[first]), int(self._starts[last]))


def _read_prompt(prompt: str, tokens: Tokens, size_max: int) -> tuple[list[int], tuple[Span, ...]]:
    """At most `size_max` ids from both ends of the prompt, and the bytes that they stand for."""
    if not prompt or size_max == 0:
        return [], ()
    reach = size_max * CHARS_PER_TOKEN_MAX
    sliced = len(prompt) > 2 * reach
    head = tokens.encode(prompt[:reach] if sliced else prompt)
    if not sliced and len(head.ids) <= size_max:
        return head.ids, _byte_spans(prompt, (0, len(prompt)))
    tail = tokens.encode(prompt[-reach:]) if sliced else head
    tail_at = len(prompt) - reach if sliced else 0
    head_size, tail_size = size_max // 2, size_max - size_max // 2
    head_end = max((end for _, end in head.offsets[:head_size]), default=0)
    tail_start = min((start for start, _ in tail.offsets[-tail_size:]), default=len(prompt) - tail_at)
    ids = [*head.ids[:head_size], *tail.ids[-tail_size:]]
    return ids, _byte_spans(prompt, (0, head_end), (tail_at + tail_start, len(prompt)))


def _byte_spans(text: str, *spans: Span) -> tuple[Span, ...]:
    return tuple((len(text[:start].encode()), len(text[:end].encode())) for start, end in spans)
