"""The source: the URL of the caller's video, and the blob that it names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from azure.core import MatchConditions
from azure.storage.blob import BlobClient

from shared.contracts import StoredRequest
from shared.errors import BadUrl, HostNotAllowed, SourceTooSlow
from shared.network import Guard, deadline, guarded_session, is_listed, origin_of, parse_endpoint
from shared.settings import Settings
from shared.storage import (
    BLOB_HOSTS,
    COUNTER,
    PATIENT,
    PROMPT,
    BlobStore,
    find_sas,
    identity,
    own_blob,
    own_session,
    service_of,
    translated,
    transport,
)
from shared.video.limits import MediaLimits
from shared.video.ranges import RangeReader


@dataclass(frozen=True)
class Source:
    """A caller's blob: its URL without the query, which is a secret, and the parts of that URL."""

    url: str
    container: str
    blob: str
    own: bool
    """Whether it lies on the service's own account."""


def parse_source(url: str, settings: Settings) -> Source:
    """Check a URL before anything is sent to it.

    Raises BadUrl for one that is no blob URL, HostNotAllowed for a host that is not on the list.
    """
    try:
        endpoint, parts = parse_endpoint(url)
    except ValueError as wrong:
        raise BadUrl(f"The video URL {wrong}.") from None
    account = service_of(settings.storage).primary_endpoint
    own = endpoint == origin_of(account)
    if not own and not is_listed(endpoint, settings.source_hosts):
        raise HostNotAllowed(f"The host {endpoint.host} is not on the allow-list of sources.")

    path = unquote(parts.path)[1:]
    if "\\" in path or any(part in ("", ".", "..") for part in path.split("/")) or not path.isprintable():
        raise BadUrl("The video URL must name a container and a blob, without empty, . or .. parts.")
    prefix = ""
    account_path = urlsplit(account).path.strip("/")
    if own and account_path:  # the emulator has the account in the path
        prefix = account_path + "/"
        if not path.startswith(prefix):
            raise BadUrl("The video URL does not name this account.")
    container, _, blob = path.removeprefix(prefix).partition("/")
    if not container or not blob:
        raise BadUrl("The video URL must name a container and a blob.")
    if own and container in (settings.container, settings.models_container):
        raise BadUrl("The video may not lie in a container of the service's own.")
    # Built from the checked parts, never from the caller's own text.
    checked = f"{endpoint.origin}/{prefix}{quote(container)}/{quote(blob)}"
    return Source(url=checked, container=container, blob=blob, own=own)


def open_source(
    source: Source, sas: str, settings: Settings, patient: bool = True, guard: Guard | None = None
) -> BlobClient:
    """A client for the source. It reads with the SAS, or without one with the account's own key or identity.

    For another account than the service's own, it connects only to addresses that the guard (by default that
    of the settings) allows; for others reading raises HostNotAllowed. The service's own account is not
    guarded: its address is the operator's choice, and may be a private endpoint, or the emulator on this
    machine. On other accounts the identity is sent only to Azure Storage, and only where the settings allow
    it.
    """
    options: dict[str, Any] = {**(PATIENT if patient else PROMPT), "raw_response_hook": COUNTER}
    if source.own:
        options["transport"] = transport(own_session(), options)
    else:
        session = guarded_session(guard or Guard.of(settings))
        trusted = str(settings.ca_bundle) if settings.ca_bundle else True
        options["transport"] = transport(session, options, trusted)
    if sas:
        return BlobClient.from_blob_url(f"{source.url}?{sas}", **options)
    if source.own:
        return own_blob(settings.storage, source.container, source.blob, options)
    azure = is_listed(origin_of(source.url), BLOB_HOSTS)  # https and port 443: http is for this machine only
    credential = identity() if settings.source_identity and azure else None
    return BlobClient.from_blob_url(source.url, credential=credential, **options)


@dataclass(frozen=True)
class BlobFacts:
    etag: str
    length_bytes: int


def look_up(client: BlobClient, limit_s: float = 15) -> BlobFacts:
    """ETag and length of the blob. It takes limit_s at most, from connecting to the last of the SDK's
    attempts; only the resolution of a name is not cut short.

    Raises BlobNotFound, BlobAccessDenied, HostNotAllowed, BadUrl, StorageUnavailable, SourceTooSlow.
    """
    with _within(limit_s):
        properties = client.get_blob_properties()
    return BlobFacts(etag=str(properties.etag).strip('"'), length_bytes=int(properties.size))


@contextmanager
def _within(limit_s: float) -> Iterator[None]:
    """Raises SourceTooSlow after limit_s, even if an answer came: a cut-off answer can look like a whole
    one."""
    with translated("The video"), deadline(limit_s) as running:
        try:
            yield
        except Exception:
            if not running.passed:
                raise
        if running.passed:
            raise SourceTooSlow(f"The video's storage did not answer in full within {limit_s:g} s.")


@dataclass(frozen=True)
class Pace:
    """How slow a source may be: a range of n bytes may take base_s + n / least_bytes_per_s seconds, including
    all of the SDK's attempts and waits.

    base_s is the minute of PATIENT's waits, by which a read survives a storage outage, and half a minute for
    the attempts. At 64 KiB a second a match of 8 GB would take 35 hours: no storage in order is so slow.
    """

    base_s: float = 90
    least_bytes_per_s: int = 64 * 1024

    def limit_s(self, length_bytes: int) -> float:
        return self.base_s + length_bytes / self.least_bytes_per_s


def read_ranges(
    client: BlobClient, facts: BlobFacts, header: dict[int, bytes] | None = None, pace: Pace = Pace()
) -> RangeReader:
    """The blob as a seekable file, in the version that `facts` names. header: see RangeReader.

    Reads raise VideoChanged once the blob was replaced, BlobAccessDenied once the SAS has expired,
    SourceTooSlow below the pace, and the other errors of look_up.
    """

    def fetch(offset: int, length: int) -> bytes:
        # Ranges have an end: the emulator leaks a file descriptor for each open-ended one that is dropped.
        with _within(pace.limit_s(length)):
            return client.download_blob(
                offset=offset,
                length=length,
                etag=f'"{facts.etag}"',
                match_condition=MatchConditions.IfNotModified,
            ).readall()

    return RangeReader(fetch, facts.length_bytes, header)


def open_video(settings: Settings, store: BlobStore, stored: StoredRequest) -> RangeReader:
    """The run's video as a seekable file, in the version that it had when the job was accepted."""
    sas = find_sas(store, stored)
    source = parse_source(stored.request.video, settings)
    facts = BlobFacts(etag=stored.etag, length_bytes=stored.length_bytes)
    header = _header(stored.run, stored.etag, stored.length_bytes)
    reader = read_ranges(open_source(source, sas, settings), facts, header)
    reader.limits = MediaLimits.of(settings)
    return reader


@lru_cache(maxsize=1)
def _header(run: str, etag: str, length_bytes: int) -> dict[int, bytes]:
    """The header of the video of the run that this process works on, shared by its units: a long video's
    index has some megabytes. It is kept by run, so that a caller who may not read a video does not get it
    from memory."""
    return {}
