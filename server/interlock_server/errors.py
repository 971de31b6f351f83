"""One base, few meanings: the operator's fault, a bundle's fault, a model's fault. No message holds text under judgement."""


class InterlockError(Exception):
    """The base of everything that this package raises on purpose."""


class ConfigError(InterlockError):
    """A file or option of the operator is wrong; the message names the file, the field and the limit."""


class BundleError(InterlockError):
    """A bundle is damaged, is not the one that was asked for, or does not do what its golden exchanges say."""


class BackendError(InterlockError):
    """A model cannot be loaded or run where it was asked to."""
