"""The service's own blob container: clients, paths, records, secrets, and the ledger of open runs.

Nothing here knows the purpose of a record. `video` reads the caller's video. Other packages import the
modules `paths`, `records` and `ledger` whole.
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
from shared.storage.records import Records, find_end, find_latest, find_request
from shared.storage.secrets import (
    Secrets,
    find_batch_secrets,
    find_callback_query,
    find_sas,
    find_secrets,
    forget_batch_secrets,
    forget_callback_query,
    forget_sas,
    forget_secrets,
    keep_batch_secrets,
    keep_secrets,
    split_secret,
)
from shared.storage.store import REUSED, BlobEntry, BlobStore

__all__ = [
    "BLOB_HOSTS",
    "COUNTER",
    "PATIENT",
    "PROMPT",
    "REUSED",
    "BlobEntry",
    "BlobStore",
    "Records",
    "Secrets",
    "find_batch_secrets",
    "find_callback_query",
    "find_end",
    "find_latest",
    "find_request",
    "find_sas",
    "find_secrets",
    "forget_batch_secrets",
    "forget_callback_query",
    "forget_sas",
    "forget_secrets",
    "identity",
    "keep_batch_secrets",
    "keep_secrets",
    "own_blob",
    "own_session",
    "service_of",
    "split_secret",
    "traffic",
    "translated",
    "transport",
]
