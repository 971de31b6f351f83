"""The tokenizer of a member, from its tokenizer.json; members with the same file share one, and what it reads."""

from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer

from interlock_server.backends.cutting import Encoding, Tokens
from interlock_server.errors import BackendError

Frame = tuple[int, ...]

_SHORT_CHARS = 1_000


def load_tokens(path: Path, member: str) -> Tokens:
    """The tokenizer in a file and how it frames texts; raises BackendError."""
    try:
        tokens = _tokenizer(path.read_bytes())
    except Exception as error:  # tokenizers raises bare Exception
        raise BackendError(f"member {member}: {path.name} is not a tokenizer") from error
    if tokens is None:
        raise BackendError(f"member {member}: {path.name} has no [CLS] or [SEP]")
    return tokens


@lru_cache(maxsize=16)
def _tokenizer(content: bytes) -> Tokens | None:
    """One tokenizer for all members that have the same file, so that they can share what it reads."""
    tokenizer = Tokenizer.from_str(content.decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    frame = _frame(tokenizer)
    if not any(frame):
        return None

    def encode(text: str) -> Encoding:
        """`encode_batch` lets other threads run, which `encode` does not: good for long texts, but to get one's turn
        back takes longer than to read a short one.
        """
        if len(text) <= _SHORT_CHARS:
            return tokenizer.encode(text, add_special_tokens=False)
        return tokenizer.encode_batch([text], add_special_tokens=False)[0]

    return Tokens(encode, *frame)


def _frame(tokenizer: Tokenizer) -> tuple[Frame, Frame, Frame]:
    """What stands before, between and after two texts, as the post-processor says; without one, [CLS] and [SEP]."""
    pair = tokenizer.encode("a", "b")
    places: dict[int, list[int]] = {0: [], 1: [], 2: []}
    place = 0
    for token, text in zip(pair.ids, pair.sequence_ids, strict=True):
        if text is None:
            places[place].append(token)
        else:
            place = text + 1
    cls, sep = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    if not any(places.values()) and cls is not None and sep is not None:
        return (cls,), (sep,), (sep,)
    return tuple(places[0]), tuple(places[1]), tuple(places[2])
