"""The ensemble that ships, and the digest that it must have: what a bundle says of itself authenticates nothing."""

from pathlib import Path

DEFAULT_BUNDLE = Path(__file__).parent / "default"
DEFAULT_BUNDLE_DIGEST = "sha256:" + "0" * 64
