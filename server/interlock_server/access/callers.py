"""Who calls, and what that caller may do. PURE: no file, no clock. A caller is named by the server, never by himself."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from interlock_server.access.quotas import UNLIMITED, Allowance

Scope = Literal["screen", "report", "admin"]
DetailName = Literal["decision", "reasons", "full"]
SCOPES: tuple[Scope, ...] = ("screen", "report", "admin")
DEFAULT_LANGUAGE = "default"
_LANGUAGES_MAX = 8
_LANGUAGES_SIZE_MAX = 256


@dataclass(frozen=True)
class Caller:
    """One caller. The default is nobody, who may do nothing."""

    name: str = ""
    scopes: frozenset[Scope] = frozenset()
    detail_max: DetailName | None = None
    default_profile: str = ""
    profiles: frozenset[str] = frozenset()
    """Those that it may name; empty: every one that releases no more than its own."""
    fallback_texts: Mapping[str, str] = field(default_factory=dict, hash=False)
    allowance: Allowance = field(default=UNLIMITED, compare=False)

    def profile(self, asked: str) -> str:
        """The profile that applies when it asks for this one."""
        return asked or self.default_profile

    def may_name(self, profile: str) -> bool:
        """Whether it may be judged by this profile."""
        return not (profile and self.profiles) or profile in self.profiles

    def fallback_text(self, languages: str) -> str:
        """What it shows instead of a withheld text, in the first of `languages` (as in `accept-language`) that there is."""
        if not self.fallback_texts:
            return ""
        for language in languages[:_LANGUAGES_SIZE_MAX].lower().split(",")[:_LANGUAGES_MAX]:
            tag = language.partition(";")[0].strip()
            text = self.fallback_texts.get(tag) or self.fallback_texts.get(tag.partition("-")[0])
            if text:
                return text
        return self.fallback_texts.get(DEFAULT_LANGUAGE, "")


NOBODY = Caller()
ANYONE = Caller(scopes=frozenset(SCOPES))
"""Whoever can connect, where no callers are configured. Its name is its address."""

CALLER: ContextVar[Caller] = ContextVar("caller")
"""Of the call that is being served. Nothing sets it but the guard before every RPC, and without it there is no answer."""
