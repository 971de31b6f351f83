"""Where the callers are written down."""

from interlock_server.strict import Settings


class AccessSettings(Settings):
    """Without a file, everyone who can connect may screen and report."""

    file: str | None = None
    """The callers (YAML); read again when it changes. It holds digests of tokens, never a token."""
