"""The ensemble that ships, and the digest that it must have: what a bundle says of itself authenticates nothing."""

from pathlib import Path

DEFAULT_BUNDLE = Path(__file__).parent / "default"
DEFAULT_DIGEST_FILE = Path(__file__).parent / "default.digest"
DEFAULT_BUNDLE_DIGEST = DEFAULT_DIGEST_FILE.read_text().strip()
