"""The service: decides whether a generator's text may be released, and withholds it whenever that is not clear."""

__version__ = "0.1.0"
