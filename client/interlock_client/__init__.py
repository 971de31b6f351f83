"""Interlock's client: asks whether a completion may be released, and answers "no" to everything that goes wrong.

Needs grpcio and protobuf, nothing else.
"""

from .aio import AsyncSafetyFilter
from .client import SafetyFilter
from .errors import CallError, InterlockError, LocalReason, SettingsError
from .requests import Exchange
from .retry import RetrySettings
from .settings import ObserveWarning
from .verdict import Verdict

__all__ = [
    "AsyncSafetyFilter",
    "CallError",
    "Exchange",
    "InterlockError",
    "LocalReason",
    "ObserveWarning",
    "RetrySettings",
    "SafetyFilter",
    "SettingsError",
    "Verdict",
]
