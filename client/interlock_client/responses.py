"""Reads what came back. PURE. Only a RELEASE on the digest that was sent becomes a released verdict; the rest is
withheld, and an answer that breaks the contract is withheld by the client, with a local reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from google.protobuf.descriptor import EnumDescriptor
from interlock.v1 import safety_filter_pb2 as pb

from .errors import RETRYABLE, CallError, LocalReason
from .settings import ClientSettings
from .verdict import Verdict

Reply = bytes | pb.ScreenBatchResponse
"""Bytes to be read, or what a stream has read already."""


def screen_verdicts(reply: Reply) -> Sequence[pb.Verdict]:
    """The verdict of a ScreenResponse, if it has one."""
    response = pb.ScreenResponse.FromString(bytes_of(reply))
    return [response.verdict] if response.HasField("verdict") else []


def batch_verdicts(reply: Reply) -> Sequence[pb.Verdict]:
    """The verdicts of a ScreenBatchResponse."""
    return (pb.ScreenBatchResponse.FromString(reply) if isinstance(reply, bytes) else reply).verdicts


def select_verdicts(reply: Reply) -> Sequence[pb.Verdict]:
    """The verdicts of a SelectResponse."""
    return pb.SelectResponse.FromString(bytes_of(reply)).verdicts


def withheld(error: CallError, settings: ClientSettings, sent_sha256: bytes = b"") -> Verdict:
    """The client's own verdict on a text about which the server said nothing that counts."""
    return Verdict(
        reasons=(error.reason.value,),
        action=settings.on_unavailable,
        retryable=error.reason in RETRYABLE,
        profile=settings.profile,
        enforcement=settings.enforcement,
        cause=error.cause,
        sent_sha256=sent_sha256,
    )


def verdict_of(message: pb.Verdict, sent_sha256: bytes, settings: ClientSettings) -> Verdict:
    """The server's verdict, or the client's own where that one does not answer the question."""
    released = message.decision == pb.DECISION_RELEASE
    if not released and message.decision != pb.DECISION_WITHHOLD:
        return withheld(CallError(LocalReason.MALFORMED_RESPONSE, "no decision"), settings, sent_sha256)
    if message.completion_sha256 != sent_sha256 and (released or message.completion_sha256):
        mismatch = withheld(CallError(LocalReason.DIGEST_MISMATCH), settings, sent_sha256)
        return replace(mismatch, verdict_id=message.verdict_id)
    return Verdict(
        decision="RELEASE" if released else "WITHHOLD",
        reasons=tuple(_name(pb.Reason.DESCRIPTOR, "REASON_", reason) for reason in message.reasons),
        action=_name(pb.Action.DESCRIPTOR, "ACTION_", message.action) if message.action else "",
        retryable=message.retryable and not released,
        retry_after_s=max(0.0, message.retry_after.seconds + message.retry_after.nanos / 1e9),
        margin=message.margin if message.HasField("margin") else None,
        disagreement=message.disagreement if message.HasField("disagreement") else None,
        margin_comparable=message.margin_comparable,
        scores={one.member: {score.category: score.score for score in one.scores} for one in message.members},
        missing=_missing(message),
        digests=_digests(message),
        verdict_id=message.verdict_id,
        profile=message.profile,
        fallback_text=message.fallback_text,
        enforcement=settings.enforcement,
        local=False,
        released_bytes=message.released_bytes,
        sent_sha256=sent_sha256,
        completion_sha256=message.completion_sha256,
        proto=message,
    )


def bytes_of(reply: Reply) -> bytes:
    """The bytes of a reply that no stream carries."""
    if isinstance(reply, bytes):
        return reply
    raise CallError(LocalReason.MALFORMED_RESPONSE, "another message")


def _name(enum: EnumDescriptor, prefix: str, number: int) -> str:
    value = enum.values_by_number.get(number)
    return value.name.removeprefix(prefix) if value else f"UNKNOWN_{number}"  # from a newer server


def _missing(message: pb.Verdict) -> Mapping[str, str]:
    return {
        one.member: _name(pb.MissingCause.DESCRIPTOR, "MISSING_CAUSE_", one.missing)
        for one in message.members
        if one.missing
    }


def _digests(message: pb.Verdict) -> Mapping[str, str]:
    digests = message.digests
    named = {"bundle": digests.bundle, "policy": digests.policy, "build": digests.build}
    return {name: digest for name, digest in named.items() if digest}
