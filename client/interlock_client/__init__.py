"""Interlock's client: asks whether a completion may be released, and answers "no" to everything that goes wrong.

Needs grpcio and protobuf, nothing else.
"""

from .aio import AsyncSafetyFilter
from .client import SafetyFilter
from .errors import CallError, InterlockError, LocalReason, SettingsError
from .generating import Generated
from .guarded import Guarded
from .guarded_aio import AsyncGuarded
from .requests import Exchange
from .retry import RetrySettings
from .security import Tls
from .selecting import Selection
from .settings import ObserveWarning
from .verdict import Verdict, Withheld

__all__ = [
    "AsyncGuarded",
    "AsyncSafetyFilter",
    "CallError",
    "Exchange",
    "Generated",
    "Guarded",
    "InterlockError",
    "LocalReason",
    "ObserveWarning",
    "RetrySettings",
    "SafetyFilter",
    "Selection",
    "SettingsError",
    "Tls",
    "Verdict",
    "Withheld",
]
