"""The service's own blob container: clients, paths, records, secrets, and the ledger of open runs.

Nothing here knows what a record is for. The caller's video is read in `video`. Others import
the modules `paths`, `records` and `ledger` whole.
"""

from shared.storage.clients import (
    BLOB_HOSTS,
    COUNTER,
    PATIENT,
    PROMPT,
    identity,
    own_blob,
    own_session,
    service_of,
    traffic,
    translated,
    transport,
)
from shared.storage.records import (
    find_end,
    find_latest,
    find_look,
    find_request,
    load_choice,
    load_look,
    load_plan,
    load_request,
    load_summary,
)
from shared.storage.secrets import (
    NO_SECRETS,
    Secrets,
    find_callback_secret,
    find_secret,
    forget_callback_secret,
    keep_callback_secret,
    keep_secrets,
    split_secret,
)
from shared.storage.store import REUSED, BlobEntry, BlobStore

__all__ = [
    "BLOB_HOSTS",
    "COUNTER",
    "NO_SECRETS",
    "PATIENT",
    "PROMPT",
    "REUSED",
    "BlobEntry",
    "BlobStore",
    "Secrets",
    "find_callback_secret",
    "find_end",
    "find_latest",
    "find_look",
    "find_request",
    "find_secret",
    "forget_callback_secret",
    "identity",
    "keep_callback_secret",
    "keep_secrets",
    "load_choice",
    "load_look",
    "load_plan",
    "load_request",
    "load_summary",
    "own_blob",
    "own_session",
    "service_of",
    "split_secret",
    "traffic",
    "translated",
    "transport",
]
