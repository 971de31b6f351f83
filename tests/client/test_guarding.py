"""What may come out of a guarded stream, whatever the text, however it is cut, and whatever a server says."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interlock.v1 import safety_filter_pb2 as pb
from interlock_client import LocalReason, SafetyFilter
from interlock_client.guarding import CHUNK_BYTES_MAX, Guarding

SETTINGS = SafetyFilter(targets="nowhere:1")
TEXT = "One fish. Two fish — naïve."


def digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


def released(text: bytes, count: int | None = None, sha256: bytes | None = None, **verdict: object) -> bytes:
    """A response that releases this prefix; with anything wrong that is asked for."""
    response = pb.ScreenStreamResponse(released_bytes=len(text) if count is None else count)
    response.released_sha256 = digest(text) if sha256 is None else sha256
    if verdict:
        response.verdict.MergeFrom(pb.Verdict(**verdict))
    return response.SerializeToString()


def verdict(decision: int = pb.DECISION_RELEASE, of: bytes = b"", **fields: object) -> dict[str, object]:
    return {"decision": decision, "completion_sha256": digest(of), **fields}


@dataclass
class Stream:
    """A guard between a source and a server, step by step."""

    pieces: Iterator[str | bytes]
    guarding: Guarding = field(default_factory=lambda: Guarding(SETTINGS, 1024 * 1024))
    sent: bytes = b""
    end_sent: bool = False
    out: list[str | bytes] = field(default_factory=list)

    def take(self) -> None:
        piece = next(self.pieces, None)
        if piece is None:
            self.guarding.finish()
        else:
            self.guarding.take(piece)

    def send(self) -> None:
        message = self.guarding.message()
        if message is not None:
            self.sent += message.chunk
            self.end_sent = message.HasField("end")

    def show(self) -> None:
        text = self.guarding.text()
        if text is not None:
            self.out.append(text)

    @property
    def shown(self) -> bytes:
        return b"".join(text.encode() if isinstance(text, str) else text for text in self.out)


def whole(*pieces: str | bytes) -> Stream:
    """A stream that has sent everything, and its end."""
    stream = Stream(iter(pieces))
    for _ in range(len(pieces) + 1):
        stream.take()
        stream.send()
    stream.send()
    return stream


@st.composite
def cut(draw: st.DrawFn) -> list[str] | list[bytes]:
    """A text in pieces, of either kind, cut anywhere."""
    text: str | bytes = draw(st.one_of(st.text(max_size=60), st.binary(max_size=60)))
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


@st.composite
def wire(draw: st.DrawFn) -> dict[str, object]:
    """Something that a server may say, true or not, about what it has got so far."""
    kind = draw(st.sampled_from(["true", "true", "true", "final", "beyond", "wrong", "other", "withhold", "garbage"]))
    return {"kind": kind, "share": draw(st.floats(0, 1)), "noise": draw(st.binary(max_size=40))}


def response(stream: Stream, said: dict[str, object]) -> tuple[bytes, bytes]:
    """The bytes on the wire, and the prefix that they release with its right digest."""
    count, noise = round(said["share"] * len(stream.sent)), said["noise"]
    prefix = stream.sent[:count]
    match said["kind"]:
        case "true":
            return released(prefix), prefix
        case "final":
            return released(stream.sent, **verdict(of=stream.sent)), stream.sent
        case "beyond":
            return released(stream.sent + b"!"), b""
        case "wrong":
            return released(prefix, sha256=noise or bytes(32)), b""
        case "other":
            return released(prefix, **verdict(of=noise)), prefix
        case "withhold":
            return released(prefix, **verdict(pb.DECISION_WITHHOLD, of=prefix)), b""
    return noise, b""


ACTS = st.one_of(st.sampled_from(["take", "send", "show", "take", "send"]), wire())


@given(cut(), st.lists(ACTS, max_size=40))
def test_only_what_was_released_comes_out(pieces: list[str] | list[bytes], acts: list[object]):
    """What comes out is a prefix of what was sent, and no longer than the longest that was released with its digest."""
    stream, longest = Stream(iter(pieces)), b""
    for act in acts:
        if isinstance(act, str):
            getattr(stream, act)()
        else:
            payload, prefix = response(stream, act)
            longest = max(longest, prefix, key=len)
            stream.guarding.answer(payload)
    stream.show()
    expected = b"".join(piece.encode() if isinstance(piece, str) else piece for piece in pieces)

    assert stream.sent == expected[: len(stream.sent)]
    assert stream.shown == longest[: len(stream.shown)]
    assert len(stream.shown) == stream.guarding.bytes_out
    assert all(isinstance(text, type(pieces[0])) for text in stream.out)


@given(cut(), st.lists(ACTS, max_size=40))
def test_a_release_is_of_the_whole(pieces: list[str] | list[bytes], acts: list[object]):
    """The verdict is true only when everything was sent, the end too, and everything comes out."""
    stream = Stream(iter(pieces))
    for act in [*acts, *["take", "send"] * (len(pieces) + 2), {"kind": "final", "share": 1.0, "noise": b""}]:
        getattr(stream, act)() if isinstance(act, str) else stream.guarding.answer(response(stream, act)[0])
    stream.show()
    expected = b"".join(piece.encode() if isinstance(piece, str) else piece for piece in pieces)

    assert stream.guarding.settled
    assert bool(stream.guarding.verdict) == (stream.end_sent and stream.shown == expected == stream.sent)


@given(cut(), st.lists(ACTS, max_size=20), wire())
def test_settled_is_settled(pieces: list[str] | list[bytes], acts: list[object], last: dict[str, object]):
    """After a withheld verdict nothing comes out and nothing changes, whatever the server goes on to say."""
    stream = Stream(iter(pieces))
    stream.guarding.answer(released(b"", **verdict(pb.DECISION_WITHHOLD, verdict_id="first")))
    before = stream.guarding.verdict
    for act in [*acts, last]:
        getattr(stream, act)() if isinstance(act, str) else stream.guarding.answer(response(stream, act)[0])

    assert (b"", b"", before) == (stream.sent, stream.shown, stream.guarding.verdict)


def test_sentence_by_sentence():
    """What is released comes out as soon as it is, and the rest with the verdict."""
    stream = whole("One. ", "Two.")
    stream.guarding.answer(released(b"One. "))
    stream.show()
    stream.guarding.answer(released(b"One. Two.", **verdict(of=b"One. Two.")))
    stream.show()

    assert ["One. ", "Two."] == stream.out
    assert stream.guarding.verdict


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (released(b"One", sha256=b""), LocalReason.DIGEST_MISMATCH),
        (released(b"Two"), LocalReason.DIGEST_MISMATCH),
        (released(b"One. Two.!"), LocalReason.MALFORMED_RESPONSE),
        (b"\xff", LocalReason.MALFORMED_RESPONSE),
        (released(b"One. ", **verdict(of=b"One. Two.")), LocalReason.MALFORMED_RESPONSE),
        (released(b"One. Two.", **verdict(of=b"One. ")), LocalReason.DIGEST_MISMATCH),
        (released(b"One. Two.", decision=pb.DECISION_RELEASE), LocalReason.DIGEST_MISMATCH),
        (released(b"One. Two.", **verdict(pb.DECISION_UNSPECIFIED)), LocalReason.MALFORMED_RESPONSE),
        (released(b"One. Two.", **verdict(7)), LocalReason.MALFORMED_RESPONSE),
    ],
)
def test_a_response_that_is_not_right_withholds(payload: bytes, reason: LocalReason):
    """Whichever part of it is wrong, and nothing of it comes out."""
    stream = whole("One. ", "Two.")
    stream.guarding.answer(payload)
    stream.show()

    assert ((reason,), []) == (stream.guarding.verdict.reasons, stream.out)


def test_released_bytes_never_go_back():
    """A server that takes a release back has lost its way."""
    stream = whole("One. Two.")
    stream.guarding.answer(released(b"One. "))
    stream.guarding.answer(released(b"One"))

    assert (LocalReason.MALFORMED_RESPONSE,) == stream.guarding.verdict.reasons


def test_a_release_before_the_end_is_none():
    """The text may still go on."""
    stream = Stream(iter(["One."]))
    stream.take()
    stream.send()
    stream.guarding.answer(released(b"One.", **verdict(of=b"One.")))

    assert (LocalReason.MALFORMED_RESPONSE,) == stream.guarding.verdict.reasons


def test_a_withheld_stream_says_how_much_came_out():
    """So that it can be taken back; the server's own count may be larger."""
    stream = whole("One. ", "Two. ", "Bad.")
    stream.guarding.answer(released(b"One. "))
    stream.show()
    stream.guarding.answer(released(b"One. Two. "))
    harmful = verdict(pb.DECISION_WITHHOLD, reasons=[pb.REASON_HARMFUL], action=pb.ACTION_RETRACT, released_bytes=10)
    stream.guarding.answer(released(b"One. Two. ", **harmful))
    stream.show()
    said = stream.guarding.verdict

    assert (["One. "], ("HARMFUL",), "RETRACT", 5) == (stream.out, said.reasons, said.action, said.released_bytes)


def test_nothing_to_take_back():
    """Where nothing came out, the action is what the caller wants for a text that is just not there."""
    stream = whole("One. Two.")
    stream.guarding.answer(released(b"One. "))
    stream.guarding.answer(released(b"", **verdict(pb.DECISION_WITHHOLD, action=pb.ACTION_RETRACT, released_bytes=5)))

    assert ("USE_FALLBACK_TEXT", 0) == (stream.guarding.verdict.action, stream.guarding.verdict.released_bytes)


def test_a_character_comes_out_whole():
    """However a server cuts it."""
    stream, text = whole(*TEXT), TEXT.encode()
    for count in range(len(text)):
        stream.guarding.answer(released(text[: count + 1]))
        stream.show()

    assert list(TEXT) == stream.out


def test_bytes_come_out_as_they_are():
    """Nothing is waited for that a caller of bytes did not ask for."""
    stream = whole(b"\xe2\x80\x94")
    stream.guarding.answer(released(b"\xe2"))
    stream.show()

    assert [b"\xe2"] == stream.out


def test_small_pieces_go_as_one():
    """What comes while a message is under way is the next message."""
    guarding = Guarding(SETTINGS, 1024 * 1024)
    for piece in ("One ", "", "fish. ", "Two"):
        guarding.take(piece)
    guarding.finish()

    assert b"One fish. Two" == guarding.message().chunk
    assert guarding.message().HasField("end")
    assert (None, False) == (guarding.message(), guarding.says_more)


def test_large_pieces_go_as_several():
    """A message has a limit."""
    guarding = Guarding(SETTINGS, 1024 * 1024)
    guarding.take("a" * (CHUNK_BYTES_MAX + 1))

    assert [CHUNK_BYTES_MAX, 1] == [len(guarding.message().chunk) for _ in range(2)]


def test_the_buffer_has_a_limit():
    """A server that releases nothing costs so much memory and no more."""
    guarding = Guarding(SETTINGS, 10)
    guarding.take("12345")
    guarding.message()
    guarding.take("67890")
    assert not guarding.settled
    guarding.take("!")

    assert (LocalReason.TOO_LARGE,) == guarding.verdict.reasons


def test_the_source_waits_for_the_caller():
    """Nothing is pulled while something is there to be shown, nor while there is enough to send."""
    stream = Stream(iter(["One. ", "Two. ", "a" * CHUNK_BYTES_MAX]))
    stream.take()
    stream.send()
    assert stream.guarding.wants_more
    stream.guarding.answer(released(b"One. "))
    assert not stream.guarding.wants_more
    stream.show()
    assert stream.guarding.wants_more
    stream.take()
    stream.take()

    assert not stream.guarding.wants_more


@pytest.mark.parametrize(
    "pieces", [["a", b"a"], [b"a", "a"], [None], [7], ["lone \ud800 surrogate"], [bytearray(b"a")]]
)
def test_a_piece_that_is_no_text_withholds(pieces: list[object]):
    """Nothing is guessed."""
    stream = Stream(iter(pieces))
    for piece in pieces:
        stream.guarding.take(piece)

    assert (LocalReason.INVALID_CALL,) == stream.guarding.verdict.reasons


def test_it_says_nothing_of_the_text():
    """Not in its verdict."""
    stream = whole("Xanadu")
    stream.guarding.answer(released(b"Xanadu", sha256=bytes(32)))

    assert "Xanadu" not in repr(stream.guarding.verdict)
