"""Servers that Interlock is compared with, all doing the same scoring by the same code."""

from .catalogue import PEERS
from .peer import Peer, PeerError

__all__ = ["PEERS", "Peer", "PeerError"]
