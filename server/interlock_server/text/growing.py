"""A completion while it is being written: what of it is to be judged next, and how much may be shown. No clock, no I/O.

It is judged at ends of sentences. Each part begins a chapter or two back, so that what a part costs does not grow with the
text and a sentence is read with what led up to it; the last part is the whole text. Shown is what was judged and cleared,
less what the policy holds back, up to the end of a sentence.
"""

import codecs
import hashlib
from bisect import bisect_right
from typing import NamedTuple

from interlock_server.text.windows import split_sentences

CHAPTER_BYTES = 1_024
"""How much a part looks back at least."""
STEP_BYTES = 24
"""How much must be new in a part: else lines of a letter each would cost a part each."""
_RESCAN_SHARE = 64


class Part(NamedTuple):
    """The bytes [start, end) of a completion; `whole` when it has ended and this is all of it."""

    start: int
    end: int
    whole: bool = False


class GrowingText:
    """Bytes come in, parts to judge come out. `hold_back` is how many judged bytes stay in until the end."""

    def __init__(self, size_max: int, hold_back: int) -> None:
        self._size_max = size_max
        self._hold_back = hold_back
        self._raw = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._open = ""  # what is behind the last end of a sentence, as far as it was looked at
        self._fresh: list[str] = []
        self._fresh_size = 0
        self._ends: list[int] = []
        self._chapters = [0]
        self._judged = 0
        self._seen = 0
        self._doubted: int | None = None
        self._shown_digest = hashlib.sha256()
        self.released = 0
        self.ended = False
        self.too_long = False
        self.unreadable = False

    def __len__(self) -> int:
        return len(self._raw)

    def add(self, chunk: bytes) -> None:
        """The next bytes, cut anywhere. After `too_long` or `unreadable` nothing more is taken."""
        if self.too_long or self.unreadable or self.ended or not chunk:
            return
        if len(self._raw) + len(chunk) > self._size_max:
            self.too_long = True
            return
        self._raw += chunk
        self._decode(chunk, final=False)
        # Looked at again only when it has grown by a share: else an endless sentence would take the square of the time.
        if self._fresh_size > len(self._open) // _RESCAN_SHARE:
            self._split()

    def end(self) -> None:
        """No more bytes will come."""
        if not self.ended:
            self._decode(b"", final=True)  # a character may have been left unfinished
        self.ended = True

    def part(self) -> Part | None:
        """What is to be judged next; None while no sentence has ended since."""
        if self.ended:
            return Part(0, len(self._raw), whole=True)
        if not self._ends or self._ends[-1] < self._seen + STEP_BYTES:
            return None
        return Part(self._chapters[max(self._chapter_of(self._judged) - 1, 0)], self._ends[-1])

    def content(self, part: Part) -> bytes:
        """The bytes of a part."""
        return bytes(memoryview(self._raw)[part.start : part.end])

    def clear(self, part: Part) -> None:
        """The part was judged, and may be released as far as it goes."""
        self._judged = self._seen = part.end
        self._doubted = None
        place = bisect_right(self._ends, part.end - self._hold_back)
        shown = part.end if part.whole else self._ends[place - 1] if place else 0
        if shown > self.released:
            self._shown_digest.update(memoryview(self._raw)[self.released : shown])
            self.released = shown

    def doubt(self, part: Part) -> int:
        """The part was judged, and cannot be released as it stands; more of the text may settle that. Returns how many bytes
        came since the doubt began.
        """
        self._seen = part.end
        self._doubted = part.end if self._doubted is None else self._doubted
        return part.end - self._doubted

    @property
    def released_sha256(self) -> bytes:
        """Of what may be shown."""
        return self._shown_digest.copy().digest()

    def _decode(self, chunk: bytes, final: bool) -> None:
        try:
            fresh = self._decoder.decode(chunk, final)
        except UnicodeDecodeError:
            self.unreadable = True
            return
        self._fresh.append(fresh)
        self._fresh_size += len(fresh)

    def _split(self) -> None:
        """Notes the sentences that have ended: all but the last, which may go on."""
        text = self._open + "".join(self._fresh)
        self._fresh, self._fresh_size = [], 0
        cut = 0
        for start, end in split_sentences(text)[:-1]:
            at = (self._ends[-1] if self._ends else 0) + len(text[start:end].encode())
            self._ends.append(at)
            if at - self._chapters[-1] >= CHAPTER_BYTES:
                self._chapters.append(at)
            cut = end
        self._open = text[cut:]

    def _chapter_of(self, at: int) -> int:
        return bisect_right(self._chapters, at) - 1
