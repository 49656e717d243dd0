"""The service's own blob container: clients, paths, records, secrets, and the ledger of open runs.

Nothing here knows what a record is for. The caller's video is read in `video`.
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
from shared.storage.paths import look_path, plan_path, summary_path, unit_step
from shared.storage.records import (
    _latest,
    find_end,
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
    _keep,
    find_callback_secret,
    find_secret,
    forget_callback_secret,
    keep_callback_secret,
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
    "_keep",
    "_latest",
    "find_callback_secret",
    "find_end",
    "find_look",
    "find_request",
    "find_secret",
    "forget_callback_secret",
    "identity",
    "keep_callback_secret",
    "load_choice",
    "load_look",
    "load_plan",
    "load_request",
    "load_summary",
    "look_path",
    "own_blob",
    "own_session",
    "plan_path",
    "service_of",
    "split_secret",
    "summary_path",
    "traffic",
    "translated",
    "transport",
    "unit_step",
]
