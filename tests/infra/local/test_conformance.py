"""The management routes, in every state of an instance, against the tables of docs/conformance.md.

The engine's work is done by hand, so an instance stays in its state while it is asked.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb
from starlette.applications import Starlette
from starlette.routing import Mount

from infra.local.durable import EngineServer
from infra.local.embedded import ROOT
from infra.local.http import PREFIX, Management
from tests.support.engine import Worker, activity

STATES = ("pending", "running", "suspended", "completed", "failed", "terminated", "unknown")
DOCUMENT = (ROOT / "docs/conformance.md").read_text()
ROW = re.compile(r"^\| `(\w+) (\S+)`(?: with (.+?))? \| ([a-z, ]+) \| (.+?) \| (\d{3}) \|$", re.MULTILINE)
BODIES = {
    "JSON": ('{"a": 1}', "application/json; charset=utf-8"),
    "text/plain": ('{"a": 1}', "text/plain"),
    "broken JSON": ("{", "application/json"),
}
CASES = [
    (method, path, body, state, documented, int(ours))
    for method, path, body, states, documented, ours in ROW.findall(DOCUMENT)
    for state in states.split(", ")
]


@dataclass
class Hub:
    """The routes over an engine whose work items the test answers."""

    app: Starlette
    worker: Worker

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://host:7071") as http:
                return await http.request(method, PREFIX.rstrip("/") + path, **request)

        return asyncio.run(call())

    def step(self) -> Any:
        """The next orchestrator step; activities are left lying."""
        while not (item := self.worker.next()).HasField("orchestratorRequest"):
            pass
        return item

    def put(self, instance: str, state: str) -> None:
        """Bring an instance into a state."""
        if state == "unknown":
            return
        start = self.ask("POST", f"/orchestrators/n/{instance}", json=json.dumps({"in": 1}))
        assert 202 == start.status_code
        if state == "pending":
            return
        first = self.step()
        assert instance == first.orchestratorRequest.instanceId
        if state == "completed":
            self.worker.finish(first, '"out"')
        elif state == "failed":
            details = pb.TaskFailureDetails(errorType="E", errorMessage="no good")
            self.worker.answer(first, helpers.new_complete_orchestration_action(-1, 3, '"no good"', details))
        else:
            self.worker.answer(first, activity(), status='{"at": "work"}')
        if state == "suspended":
            self.ask("POST", f"/instances/{instance}/suspend")
            self.worker.answer(self.step())
        elif state == "terminated":
            self.ask("POST", f"/instances/{instance}/terminate?reason=enough")
            step = self.step()
            reason = step.orchestratorRequest.newEvents[-1].executionTerminated.input.value
            self.worker.answer(step, helpers.new_complete_orchestration_action(-1, 5, reason))


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = EngineServer()
    routes = Management(server.stub, {"n": object()}).routes()
    yield Hub(Starlette(routes=[Mount(PREFIX.rstrip("/"), app=Starlette(routes=routes))]), Worker(server))
    server.stop()


def test_the_table_names_every_state_of_each_route_once() -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| `")]
    assert len(rows) == len(ROW.findall(DOCUMENT))
    routes = dict.fromkeys(case[:3] for case in CASES)
    assert routes
    for route in routes:
        assert sorted(STATES) == sorted(case[3] for case in CASES if case[:3] == route)


def test_every_test_that_the_document_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT))
    code = "".join(path.read_text() for path in (ROOT / "tests/infra/local").glob("test_*.py"))
    assert named == {name for name in named if f"def {name}(" in code}
    assert named


@pytest.mark.parametrize(
    ("method", "path", "body", "state", "documented", "ours"),
    [pytest.param(*case, id=f"{case[0]} {case[1]} {case[2]} {case[3]}") for case in CASES],
)
def test_the_answer_of_each_route_in_each_state(
    hub: Hub, method: str, path: str, body: str, state: str, documented: str, ours: int
) -> None:
    assert documented.startswith(str(ours))
    hub.put("i", state)
    content, kind = BODIES.get(body, ("", ""))
    headers = {"content-type": kind} if kind else {}
    answer = hub.ask(method, path.format(id="i"), content=content, headers=headers)
    assert ours == answer.status_code
    own = PREFIX.rstrip("/") + "/instances/i"
    if "Location" in documented:
        assert f"http://host:7071{own}" == answer.headers["location"]
        assert answer.headers["retry-after"] == (
            found[1] if (found := re.search(r"After (\d+)", documented)) else ""
        )
    else:
        assert ours == 202 or "location" not in answer.headers
    if "instancesDeleted" in documented:
        assert {"instancesDeleted": 1} == answer.json()
        assert 404 == hub.ask("GET", "/instances/i").status_code
    elif ours in (404, 410) or (ours == 202 and "/orchestrators/" not in path and method == "POST"):
        assert b"" == answer.content
    elif method == "DELETE":
        assert 202 == hub.ask("GET", "/instances/i").status_code  # refused, and still there


@pytest.mark.parametrize("state", STATES[:-1])
def test_the_fields_of_a_status(hub: Hub, state: str) -> None:
    hub.put("i", state)
    seen = hub.ask("GET", "/instances/i").json()
    times = {seen.pop("createdTime"), seen.pop("lastUpdatedTime")}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time) for time in times)
    outputs = {"completed": "out", "failed": "no good", "terminated": "enough"}
    at_work = state in ("running", "suspended", "terminated")
    assert {
        "name": "n",
        "instanceId": "i",
        "runtimeStatus": state.title(),
        "input": '{"in": 1}',
        "customStatus": {"at": "work"} if at_work else None,
        "output": outputs.get(state),
    } == seen
    assert None is hub.ask("GET", "/instances/i?showInput=false").json()["input"]


def test_history_tells_a_task_once_and_shows_what_is_asked_for(hub: Hub) -> None:
    hub.put("i", "pending")
    hub.worker.answer(hub.step(), activity(0), activity(1))
    tasks = [hub.worker.next(), hub.worker.next()]
    for task, result in zip(tasks, ('{"n": 1}', '"two"'), strict=True):
        hub.worker.done(task, result)
        step = hub.step()
        hub.worker.answer(step) if result != '"two"' else hub.worker.finish(step, "[3]")
    bare = hub.ask("GET", "/instances/i?showHistory=true&showInput=false").json()["historyEvents"]
    kinds = ["ExecutionStarted", "TaskCompleted", "TaskCompleted", "ExecutionCompleted"]
    assert kinds == [event["EventType"] for event in bare]
    assert ["n", "a", "a", None] == [event.get("FunctionName") for event in bare]
    assert "Completed" == bare[-1]["OrchestrationStatus"]
    assert {"EventType", "FunctionName", "ScheduledTime", "Timestamp"} == set(bare[1])
    full = hub.ask("GET", "/instances/i?showHistory=true&showHistoryOutput=true").json()["historyEvents"]
    assert [{"n": 1}, "two", [3]] == [event["Result"] for event in full[1:]]
    assert "1" == full[1]["Input"]
    assert "historyEvents" not in hub.ask("GET", "/instances/i").json()


def test_history_tells_what_has_no_answer_yet(hub: Hub) -> None:
    hub.put("i", "running")
    events = hub.ask("GET", "/instances/i?showHistory=true").json()["historyEvents"]
    assert [("ExecutionStarted", None), ("TaskScheduled", "a")] == [
        (event["EventType"], event.get("Name")) for event in events
    ]


def test_the_reason_of_a_termination_is_the_output(hub: Hub) -> None:
    hub.put("i", "terminated")
    assert "enough" == hub.ask("GET", "/instances/i").json()["output"]


def test_a_suspended_instance_keeps_its_events_until_it_is_resumed(hub: Hub) -> None:
    hub.put("i", "suspended")
    assert 202 == hub.ask("POST", "/instances/i/raiseEvent/e", json=5).status_code
    assert "Suspended" == hub.ask("GET", "/instances/i").json()["runtimeStatus"]
    assert 202 == hub.ask("POST", "/instances/i/resume?reason=go").status_code
    arrived = hub.step().orchestratorRequest.newEvents
    assert ["5"] == [event.eventRaised.input.value for event in arrived if event.HasField("eventRaised")]
    assert ["go"] == [e.executionResumed.input.value for e in arrived if e.HasField("executionResumed")]


def test_the_list_is_filtered_by_status_time_and_prefix(hub: Hub) -> None:
    for state in STATES[1:-1]:
        hub.put(f"{state[0]}-{state}", state)

    def listed(query: str) -> list[str]:
        answer = hub.ask("GET", f"/instances?{query}")
        return [found["runtimeStatus"].lower() for found in answer.json()]

    assert list(STATES[1:-1]) == listed("")
    assert ["completed", "failed"] == listed("runtimeStatus=Completed,Failed")
    assert ["completed", "failed"] == listed("runtimeStatus=Completed&runtimeStatus=Failed")
    assert ["terminated"] == listed("instanceIdPrefix=t-")
    assert [] == listed("createdTimeTo=2000-01-01T00:00:00Z")
    assert [] == listed("createdTimeFrom=2900-01-01T00:00:00Z")
    assert list(STATES[1:-1]) == listed("createdTimeFrom=2000-01-01&createdTimeTo=2900-01-01T00:00:00Z")
    assert [None] == [
        i["input"] for i in hub.ask("GET", "/instances?instanceIdPrefix=t&showInput=false").json()
    ]


@pytest.mark.parametrize("query", ["runtimeStatus=Odd", "createdTimeFrom=soon", "createdTimeTo=1", "top=all"])
def test_a_filter_that_cannot_be_read_is_400(hub: Hub, query: str) -> None:
    assert 400 == hub.ask("GET", f"/instances?{query}").status_code


def test_pages_follow_one_another_by_their_token(hub: Hub) -> None:
    for n in range(5):
        hub.put(f"i{n}", "pending")
    token, pages = "", list[list[str]]()
    while len(pages) < 9:
        answer = hub.ask("GET", "/instances?top=2", headers={"x-ms-continuation-token": token})
        pages.append([found["instanceId"] for found in answer.json()])
        if not (token := answer.headers["x-ms-continuation-token"]):
            break
    assert [["i0", "i1"], ["i2", "i3"], ["i4"]] == pages


def test_a_purge_of_many_takes_what_its_filter_says(hub: Hub) -> None:
    for state in STATES[1:-1]:
        hub.put(state, state)
    assert 400 == hub.ask("DELETE", "/instances").status_code
    since = "/instances?createdTimeFrom=2000-01-01T00:00:00Z"
    assert 404 == hub.ask("DELETE", f"{since}&createdTimeTo=2001-01-01T00:00:00Z").status_code
    assert {"instancesDeleted": 1} == hub.ask("DELETE", f"{since}&runtimeStatus=Failed").json()
    assert {"instancesDeleted": 2} == hub.ask("DELETE", since).json()
    assert ["running", "suspended"] == [found["instanceId"] for found in hub.ask("GET", "/instances").json()]


def test_an_instance_that_may_not_be_purged_says_why(hub: Hub) -> None:
    hub.put("i", "suspended")
    assert "i is Suspended" in hub.ask("DELETE", "/instances/i").json()["Message"]
