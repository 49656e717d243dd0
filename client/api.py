"""The HTTP API as typed calls."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from client.errors import ClientError, Refused, Unreachable, UsageError
from shared.contracts import BatchStatus, JobAccepted, JobList, JobRequest, JobStatus, JobSummary, Problem
from shared.names import is_job_id
from shared.settings import VERSION

DEFAULT_API = "http://127.0.0.1:7071"
DEFAULT_POLL_S = 2.0
LONGEST_POLL_S = 60.0
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 8.0
DEFAULT_PATIENCE_S = 150.0
"""Long enough for two more tries when the service asks to wait a minute."""
PROMPT_S = 3.0
"""Seconds in which a first call is tried again: a wrong address should show soon."""

_BUSY = frozenset({429, 502, 503, 504})
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ -]{0,127}")
_Model = TypeVar("_Model", bound=BaseModel)
_T = TypeVar("_T")


class Polled(NamedTuple):
    """A job's status, and how many seconds the service asks to wait before the next poll."""

    status: JobStatus
    retry_after_s: float


class _Busy(Exception):
    """The service asks to try again later; `otherwise` is raised where patience is used up."""

    def __init__(self, retry_after_s: float, otherwise: ClientError) -> None:
        self.retry_after_s = retry_after_s
        self.otherwise = otherwise


def _nothing(text: str) -> None:
    del text


class Api:
    """One matchcut service.

    A call is tried again after a lost connection and after the answers 429, 502, 503 and 504, with pauses
    that double, for `patience_s` seconds; then it raises Unreachable, or Refused with the service's own
    answer. Repeating is safe for every call: a job started twice is the same job. `notice` is called once per
    interruption with a sentence.

    The function key goes to this service's origin only: redirects are not followed, and files are fetched by
    name below `base_url`, not from the addresses in `links`, which may be meant for another network.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_API,
        key: str | None = None,
        patience_s: float = DEFAULT_PATIENCE_S,
        notice: Callable[[str], None] = _nothing,
    ) -> None:
        host = _host(base_url)
        self.base_url = base_url.rstrip("/")
        self._patience_s = patience_s
        self._notice = notice
        headers = {"user-agent": f"matchcut/{VERSION}"}
        if key:
            headers["x-functions-key"] = key
        # A proxy from the environment cannot reach this machine's own services.
        own = host in ("127.0.0.1", "::1", "localhost")
        timeout = httpx.Timeout(60.0, connect=10.0)
        self._http = httpx.Client(base_url=self.base_url, headers=headers, timeout=timeout, trust_env=not own)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    def submit(self, request: JobRequest, idempotency_key: str | None = None) -> JobAccepted:
        """POST /api/jobs, without the fields that have their defaults."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        body = request.model_dump(mode="json", exclude_defaults=True)
        return _parsed(JobAccepted, self._call("POST", "/api/jobs", PROMPT_S, json=body, headers=headers))

    def status(self, job: str, patience_s: float = PROMPT_S) -> Polled:
        """GET /api/jobs/{id}."""
        return Polled(*self._look(_job_path(job), JobStatus, patience_s))

    def follow(self, job: str) -> Iterator[JobStatus]:
        """The job's status, polled as often as the service allows, until and including the last one."""
        return self._follow(_job_path(job), JobStatus, lambda status: status.state.ended)

    def cancel(self, job: str) -> JobStatus:
        """DELETE /api/jobs/{id}; returns the job's status after that."""
        return _parsed(JobStatus, self._call("DELETE", _job_path(job), PROMPT_S))

    def retry(self, job: str, video: str | None) -> JobAccepted:
        """POST /api/jobs/{id}/retry. video: the same URL with a fresh SAS; None keeps the old one."""
        body = {"video": video} if video else None
        return _parsed(JobAccepted, self._call("POST", f"{_job_path(job)}/retry", PROMPT_S, json=body))

    def jobs(self, top: int, **query: str) -> Iterator[JobSummary]:
        """GET /api/jobs, page after page, until there are `top` jobs; newest first."""
        query["top"] = str(min(top, 100))
        while top > 0:
            path = f"/api/jobs?{urlencode(query)}"
            page = _parsed(JobList, self._call("GET", path, self._patience_s))
            yield from page.jobs[:top]
            top -= len(page.jobs)
            if page.continuation is None:
                return
            query["continuation"] = page.continuation

    def submit_batch(self, body: bytes, media_type: str, idempotency_key: str | None) -> BatchStatus:
        """POST /api/batches."""
        headers = {"Content-Type": media_type}
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        answer = self._call("POST", "/api/batches", PROMPT_S, content=body, headers=headers)
        return _parsed(BatchStatus, answer)

    def follow_batch(self, batch: str) -> Iterator[BatchStatus]:
        """The batch's status, polled as often as the service allows, until and including the last one."""
        return self._follow(_batch_path(batch), BatchStatus, lambda status: status.state == "Ended")

    def batch_csv(self, batch: str) -> bytes:
        """GET /api/batches/{id}/csv: one row per video."""
        return self._call("GET", f"{_batch_path(batch)}/csv", self._patience_s).content

    def read(self, job: str, name: str) -> bytes:
        """The bytes of one result file."""
        return self._call("GET", _file_path(job, name), self._patience_s).content

    def download(self, job: str, name: str, folder: Path) -> Path:
        """Download one result file into a folder, where it appears whole or not at all. Returns its path."""
        target = folder / name
        part = folder / f"{name}.part"
        path = _file_path(job, name)

        def attempt() -> None:
            with self._http.stream("GET", path) as response:
                if not response.is_success:
                    response.read()
                    _check(response)
                with part.open("wb") as out:
                    for block in response.iter_bytes(1 << 16):
                        out.write(block)

        try:
            self._patiently(attempt, self._patience_s)
            os.replace(part, target)
        except OSError as bad:
            raise ClientError(f"{target} cannot be written: {bad.strerror}.") from bad
        finally:
            part.unlink(missing_ok=True)
        return target

    def _follow(self, path: str, model: type[_Model], ended: Callable[[_Model], bool]) -> Iterator[_Model]:
        patience_s = min(PROMPT_S, self._patience_s)
        while True:
            status, retry_after_s = self._look(path, model, patience_s)
            yield status
            if ended(status):
                return
            time.sleep(retry_after_s)
            patience_s = self._patience_s

    def _look(self, path: str, model: type[_Model], patience_s: float) -> tuple[_Model, float]:
        response = self._call("GET", path, patience_s)
        return _parsed(model, response), _retry_after_s(response, DEFAULT_POLL_S)

    def _call(
        self,
        method: Literal["GET", "POST", "DELETE"],
        path: str,
        patience_s: float,
        json: object = None,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        def attempt() -> httpx.Response:
            return _check(self._http.request(method, path, json=json, content=content, headers=headers))

        return self._patiently(attempt, patience_s)

    def _patiently(self, attempt: Callable[[], _T], patience_s: float) -> _T:
        """attempt(), repeated for patience_s seconds while the service is busy or unreachable."""
        give_up = time.monotonic() + patience_s
        pause_s, noticed = FIRST_PAUSE_S, False
        failure: ClientError
        while True:
            try:
                return attempt()
            except httpx.TransportError as lost:
                reason = f"{self.base_url} does not answer ({_why(lost)})"
                wait_s, failure = pause_s, Unreachable(f"{reason}; is the service running there?")
            except _Busy as busy:
                reason = f"{self.base_url} is busy"
                wait_s, failure = max(pause_s, busy.retry_after_s), busy.otherwise
            if time.monotonic() + wait_s > give_up:
                # From None: the cause's text is the library's, and may hold a secret.
                raise failure from None
            if not noticed:
                self._notice(f"{reason}; trying again for {patience_s:.0f} s.")
                noticed = True
            time.sleep(wait_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


def _host(base_url: str) -> str:
    try:
        address = urlsplit(base_url)
        plain = not (address.query or address.fragment or "@" in address.netloc)
        if address.scheme in ("http", "https") and address.hostname and address.port != 0 and plain:
            return address.hostname
    except ValueError:
        pass
    raise UsageError("The address of the API must look like https://host[:port][/path].")


def _job_path(job: str) -> str:
    if not is_job_id(job):
        raise UsageError("A job's id has 1 to 80 of the characters a-z, 0-9 and '-'.")
    return f"/api/jobs/{job}"


def _batch_path(batch: str) -> str:
    if not is_job_id(batch):
        raise UsageError("A batch's id has 1 to 80 of the characters a-z, 0-9 and '-'.")
    return f"/api/batches/{batch}"


def _file_path(job: str, name: str) -> str:
    # The name becomes a file on this machine, and it came over the network.
    if not _PLAIN_NAME.fullmatch(name):
        raise ClientError(f"The service names a file {name!r}, which is not a plain file name.")
    return f"{_job_path(job)}/files/{quote(name)}"


def _check(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    failure = _failure(response)
    if response.status_code in _BUSY:
        raise _Busy(_retry_after_s(response, 0.0), failure)
    raise failure


def _failure(response: httpx.Response) -> ClientError:
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        try:
            problem = Problem.model_validate_json(response.content)
        except ValidationError:
            pass
        else:
            fields = "".join(f" {fault.get('field')}: {fault.get('message')}." for fault in problem.errors)
            return Refused(f"{problem.detail}{fields} {problem.action}", problem.code)
    host, code = response.url.host, response.status_code
    if code in (401, 403):
        return ClientError(f"{host} answered {code}: set MATCHCUT_KEY to the service's function key.")
    return ClientError(f"{host} answered {code}, not as a matchcut service does; check the address.")


def _parsed(model: type[_Model], response: httpx.Response) -> _Model:
    """Read an answer; fields that a newer service adds are ignored. Raises ClientError."""
    try:
        return model.model_validate_json(response.content, extra="ignore")
    except ValidationError:
        host = response.url.host
        raise ClientError(f"{host} did not answer as a matchcut service does; check the address.") from None


def _retry_after_s(response: httpx.Response, otherwise_s: float) -> float:
    """Retry-After in seconds, at most LONGEST_POLL_S. The service never sends the header's date form."""
    text = response.headers.get("retry-after", "")
    return min(float(text), LONGEST_POLL_S) if re.fullmatch(r"\d{1,9}(\.\d+)?", text) else otherwise_s


def _why(lost: httpx.TransportError) -> str:
    return str(lost) or type(lost).__name__
