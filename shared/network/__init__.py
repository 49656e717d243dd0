"""Which hosts the service may talk to, and connections to addresses that were checked.

The protocols that use these connections live elsewhere: `storage`, `video` (sources) and `callbacks`.
"""

from shared.network.addresses import Endpoint, Guard, is_listed, origin_of, parse_endpoint
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
    "is_listed",
    "origin_of",
    "parse_endpoint",
    "post",
]
