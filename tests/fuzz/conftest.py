"""How long to look: a few examples of each kind in `make test`, thousands in `make fuzz`."""

from hypothesis import settings

settings.register_profile("fuzz", max_examples=3_000, deadline=None)
