"""Which hosts the service may talk to, and connections to addresses that were checked.

What is said over them (blob storage, callbacks) lives elsewhere.
"""

from shared.network.addresses import Endpoint, Guard, listed, origin_of, parse_endpoint
from shared.network.deadlines import deadline
from shared.network.outbound import NoAnswer, Patience, WatchedAdapter, guarded_session, post

__all__ = [
    "Endpoint",
    "Guard",
    "NoAnswer",
    "Patience",
    "WatchedAdapter",
    "deadline",
    "guarded_session",
    "listed",
    "origin_of",
    "parse_endpoint",
    "post",
]
