"""Tokens: 256 random bits, shown once. Only their SHA-256 is ever kept, which is enough for what nobody can guess."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import TypeVar

_PREFIX = "ilk_"  # scanners for leaked secrets look for such
_BYTES = 32
_SIZE_MAX = 512

_Owner = TypeVar("_Owner")


def new_token() -> str:
    """One that nobody has seen."""
    return _PREFIX + secrets.token_urlsafe(_BYTES)


def token_digest(token: str) -> str:
    """What is kept of it."""
    return hashlib.sha256(token.encode()).hexdigest()


def owner_of(token: str, digests: Iterable[tuple[str, _Owner]]) -> _Owner | None:
    """Whose token it is. Compared with every digest to its end, so that the time tells nothing of any of them."""
    if len(token) > _SIZE_MAX or not token.isascii():
        return None
    asked = token_digest(token)
    found = None
    for digest, owner in digests:
        if hmac.compare_digest(asked, digest):
            found = owner
    return found


def bearer(value: str) -> str | None:
    """The token in an `authorization` header, if that is what is in it."""
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
