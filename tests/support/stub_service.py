"""A service that keeps the HTTP contracts and runs nothing: its jobs move one step at each poll."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.contracts import ErrorBody, JobAccepted, JobRequest, JobStatus, Progress, State
from shared.errors import BlobNotFound, FileNotReady, JobNotFound, MatchcutError, StorageUnavailable

JOB = "m-0123456789abcdef01234567"


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float


def problem(error: MatchcutError, errors: tuple[dict[str, str], ...] = ()) -> JSONResponse:
    body = {
        "type": f"urn:matchcut:{error.code}",
        "title": error.code.replace("_", " "),
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "action": error.action,
        "errors": errors,
    }
    return JSONResponse(body, error.status, media_type="application/problem+json")


@dataclass
class Service:
    """What it will answer, and what it has seen."""

    files: dict[str, bytes] = field(default_factory=dict)
    end: State = State.COMPLETED
    error: ErrorBody | None = None
    steps: int = 3
    retry_after: str = "0"
    drop: int = 0
    """So many of the next answers break off in the middle."""
    busy: int = 0
    """So many of the next answers are 503 with a problem."""
    instead: Response | None = None
    """Answers everything in place of the service."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that a newer service adds."""
    seen: list[Seen] = field(default_factory=list)
    base_url: str = ""
    polls: int = 0
    cancelled: bool = False

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/jobs", self._answered(self._post), methods=["POST"]),
                Route("/api/jobs/{job}", self._answered(self._get), methods=["GET"]),
                Route("/api/jobs/{job}", self._answered(self._delete), methods=["DELETE"]),
                Route("/api/jobs/{job}/files/{name}", self._answered(self._file), methods=["GET"]),
                Route("/{rest:path}", self._answered(self._nowhere)),
            ]
        )

    def _answered(self, handler: Any) -> Any:
        async def answer(request: Request) -> Response:
            self.seen.append(
                Seen(
                    request.method,
                    request.url.path,
                    dict(request.headers),
                    await request.body(),
                    time.monotonic(),
                )
            )
            if self.instead is not None:
                return self.instead
            if self.busy:
                self.busy -= 1
                return problem(StorageUnavailable("The storage does not answer."))
            response: Response = handler(request)
            if self.drop:
                self.drop -= 1
                # Fewer bytes than promised: the server must cut the connection.
                response.body = response.body[: len(response.body) // 2]
            return response

        return answer

    def _post(self, request: Request) -> Response:
        posted = JobRequest.model_validate_json(self.seen[-1].body)
        if "missing" in posted.video:
            return problem(
                BlobNotFound("The video is not there."), ({"field": "video", "message": "no blob"},)
            )
        url = f"{self.base_url}/api/jobs/{JOB}"
        accepted = JobAccepted(id=JOB, state=State.QUEUED, status_url=url)
        return JSONResponse(accepted.model_dump(mode="json") | self.extra, 202, {"Location": url})

    def _get(self, request: Request) -> Response:
        if request.path_params["job"] != JOB:
            return problem(JobNotFound("There is no such job."))
        done = min(self.polls, self.steps)
        self.polls += 1
        ended = done == self.steps
        state = State.QUEUED if done == 0 else State.SCORING
        status = JobStatus(
            id=JOB,
            name="match.mp4",
            state=self.end if ended else state,
            progress=Progress(
                done=done,
                total=self.steps if done else 0,
                fraction=done / self.steps,
                eta_s=None if done == 0 else 80.0 * (self.steps - done),
                realtime_factor=None if done == 0 else 8.25,
            ),
            links={name: f"http://elsewhere.invalid/{name}" for name in self.files} if ended else {},
            error=self.error if ended else None,
        )
        body = status.model_dump(mode="json") | self.extra
        return JSONResponse(body, 200 if ended else 202, {} if ended else {"Retry-After": self.retry_after})

    def _delete(self, request: Request) -> Response:
        self.cancelled, self.end, self.polls = True, State.CANCELLED, self.steps
        return self._get(request)

    def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self.files:
            return problem(FileNotReady("There is no such file."))
        return Response(self.files[name], media_type="application/octet-stream")

    def _nowhere(self, request: Request) -> Response:
        return Response("not here", 404)


@contextmanager
def served(service: Service, port: int = 0) -> Iterator[str]:
    """The base URL while the service listens on 127.0.0.1."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        server = uvicorn.Server(uvicorn.Config(service.app(), log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.005)
            service.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            yield service.base_url
        finally:
            server.should_exit = True
            thread.join()
