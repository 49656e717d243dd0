"""The tiny app on a running host: HTTP functions, orchestrations, management routes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.tiny import Api
from tests.support.waiting import LIMIT_S, until

pytestmark = pytest.mark.e2e


# ---------------------------------------------------------------- HTTP functions


def test_an_http_function_gets_method_route_query_headers_body_and_context(api: Api) -> None:
    answer = api.http.post("/api/echo/me?x=1", content="héé", headers={"X-Sent": "yes"})
    seen = answer.json()
    assert (200, "yes", "application/json") == (
        answer.status_code,
        answer.headers["x-back"],
        answer.headers["content-type"],
    )
    assert 36 == len(seen.pop("invocation"))
    assert {
        "who": "me",
        "method": "POST",
        "query": {"x": "1"},
        "header": "yes",
        "body": "héé",
        "function": "echo",
    } == seen


def test_a_literal_route_goes_before_a_parameter(api: Api) -> None:
    assert "literal" == api.http.get("/api/echo/literal").text


def test_a_rest_route_takes_the_whole_path_and_bytes_come_back_unchanged(api: Api) -> None:
    answer = api.http.get("/api/files/a/b/c")
    assert ("application/a/b/c", bytes(range(256))) == (answer.headers["content-type"], answer.content)


def test_a_function_that_raises_is_a_500_without_its_text(api: Api) -> None:
    answer = api.http.get("/api/broken")
    assert (500, "") == (answer.status_code, answer.text)


def test_the_sdks_own_client_starts_and_sees_instances(api: Api) -> None:
    started = api.http.post("/api/run/fan_out/by-client", json=2)
    assert 202 == started.status_code
    assert started.json()["statusQueryGetUri"] == started.headers["location"]
    assert [0, 2] == api.wait("by-client")["output"]
    seen = api.http.get("/api/seen/by-client").json()
    assert ("Completed", [0, 2]) == (seen["runtimeStatus"], seen["output"])


# ---------------------------------------------------------------- orchestrations


def test_a_hundred_activities_come_back_in_order_and_the_status_is_seen(api: Api) -> None:
    assert [2 * n for n in range(100)] == api.run("fan_out", "hundred", 100)
    assert {"answered": 100} == api.status("hundred").json()["customStatus"]


def test_sub_orchestrations_know_their_parent_and_report_to_it(api: Api) -> None:
    output = api.run("parent", "four", {"blocks": 4, "each": 25})
    assert {"sum": 4 * 600, "parents": ["four"] * 4} == output


def test_two_thousand_activities_in_forty_blocks_end(api: Api) -> None:
    assert 40 * 2450 == api.run("parent", "many", {"blocks": 40, "each": 50})["sum"]


def test_an_activity_starts_orchestrations_with_a_durable_client_again_and_again(api: Api) -> None:
    """Many at once, so that calls contend for the SDK's one session; in one process after another call."""
    answers = []
    for n in range(4):
        ids = [f"by-activity-{n}-{k}" for k in range(5)]
        task = {"ids": ids, "name": "fan_out", "value": 1}
        answers.append(api.run("one", f"starter-{n}", {"activity": "start_others", "input": task})["answer"])
        assert (ids, ["fan_out"] * 5) == (answers[-1]["started"], answers[-1]["names"])
        assert [[0]] * 5 == [api.wait(name)["output"] for name in ids]
    assert len({answer["pid"] for answer in answers}) <= 2


def test_a_client_that_is_refused_fails_the_activity_with_the_hosts_sentence(api: Api) -> None:
    task = {"ids": ["x"], "name": "nobody", "value": 1}
    error = api.run("one", "refused", {"activity": "start_others", "input": task})["error"]
    assert "The function 'nobody' doesn't exist" in error


def test_an_activity_that_raises_is_an_exception_in_the_orchestrator(api: Api) -> None:
    output = api.run("one", "raises", {"activity": "fail", "input": "x"})
    assert output["error"].startswith("Activity function 'fail' failed: ValueError: no good: x")


def test_an_activity_whose_process_is_killed_fails_alone(api: Api) -> None:
    for n in range(4):
        api.start("one", f"killed-{n}", {"activity": "die" if n == 1 else "double", "input": n})
    outputs = [api.wait(f"killed-{n}")["output"] for n in range(4)]
    assert [{"answer": 0}, {"answer": 4}, {"answer": 6}] == [outputs[0], outputs[2], outputs[3]]
    assert "died: signal SIGKILL" in outputs[1]["error"]


def test_an_unhandled_exception_fails_the_instance(api: Api) -> None:
    api.start("careless", "careless")
    seen = api.wait("careless")
    assert ("Failed", "before") == (seen["runtimeStatus"], seen["customStatus"])
    assert seen["output"].startswith("Orchestrator function 'careless' failed: ")
    assert 200 == api.status("careless").status_code
    assert 500 == api.status("careless", returnInternalServerErrorOnFailure="true").status_code


def test_a_sub_orchestration_that_fails_is_an_exception_in_its_parent(api: Api) -> None:
    assert "no good: unhandled" in api.run("guarded", "guarded")


def test_continue_as_new_begins_again_until_it_ends(api: Api) -> None:
    assert 0 == api.run("countdown", "countdown", 3)


def test_an_unknown_activity_fails_instead_of_waiting(api: Api) -> None:
    output = api.run("one", "unknown", {"activity": "nobody", "input": None})
    assert "the app has no activity of this name" in output["error"]


def test_a_timer_fires(api: Api) -> None:
    assert {"timer": True} == api.run("approval", "timer", 0.2)


def test_an_external_event_arrives_with_what_it_carries(api: Api) -> None:
    api.start("approval", "event", 60)
    api.wait("event", "Running")
    assert 202 == api.manage("POST", "instances/event/raiseEvent/approve", json={"by": "me"}).status_code
    assert {"event": {"by": "me"}} == api.wait("event")["output"]


# ---------------------------------------------------------------- management routes


def test_a_running_instance_is_not_started_twice_and_an_ended_one_is_replaced(api: Api) -> None:
    assert 202 == api.start("approval", "twice", 60).status_code
    assert 409 == api.start("approval", "twice", 60).status_code
    api.manage("POST", "instances/twice/terminate?reason=enough")
    assert "enough" == api.wait("twice")["output"]
    assert [0] == api.run("fan_out", "twice", 1)


def test_terminate_takes_sub_orchestrations_along_and_queued_activities_do_not_run(
    api: Api, tmp_path: Path
) -> None:
    api.start("marks", "ended", {"folder": str(tmp_path), "count": 100, "nap_s": 0.3})
    until(lambda: len(list(tmp_path.iterdir())) >= 2)
    assert 202 == api.manage("POST", "instances/ended/terminate?reason=enough").status_code
    assert "Terminated" == api.wait("ended")["runtimeStatus"]
    children = [i for i in _instances(api) if i["name"] == "marks_block"]
    assert ["Terminated"] == [api.wait(child["instanceId"])["runtimeStatus"] for child in children]
    ran = len(list(tmp_path.iterdir()))
    assert [0] == api.run("fan_out", "after-ended", 1)
    time.sleep(0.4)
    assert ran <= len(list(tmp_path.iterdir())) <= ran + 2, "only what was in flight"
    assert ran < 100


def test_suspend_holds_and_resume_goes_on(api: Api) -> None:
    api.start("approval", "held", 60)
    api.wait("held", "Running")
    assert 202 == api.manage("POST", "instances/held/suspend?reason=wait").status_code
    api.wait("held", "Suspended")
    api.manage("POST", "instances/held/raiseEvent/approve", json=1)
    time.sleep(0.2)
    assert "Suspended" == api.status("held").json()["runtimeStatus"]
    assert 202 == api.manage("POST", "instances/held/resume?reason=go").status_code
    assert {"event": 1} == api.wait("held")["output"]


@pytest.mark.parametrize("action", ["terminate", "suspend", "resume", "raiseEvent/x"])
def test_an_ended_instance_is_gone_and_an_unknown_one_not_found(api: Api, action: str) -> None:
    name = f"gone-{action[:4]}"
    api.run("fan_out", name, 1)
    assert 410 == api.manage("POST", f"instances/{name}/{action}", json=1).status_code
    assert 404 == api.manage("POST", f"instances/never/{action}", json=1).status_code


def test_purge_removes_an_ended_instance(api: Api) -> None:
    api.run("fan_out", "purged", 1)
    purged = api.manage("DELETE", "instances/purged")
    assert (200, {"instancesDeleted": 1}) == (purged.status_code, purged.json())
    assert 404 == api.manage("DELETE", "instances/purged").status_code
    assert 404 == api.status("purged").status_code


def test_a_start_answers_with_the_links_and_where_to_look(api: Api) -> None:
    started = api.manage("POST", "orchestrators/fan_out", json="1")
    links = started.json()
    assert (202, "10") == (started.status_code, started.headers["retry-after"])
    assert started.headers["location"] == links["statusQueryGetUri"]
    assert links["statusQueryGetUri"].startswith(f"{api.host.base_url}/runtime/webhooks/durabletask/")
    assert {"id", "sendEventPostUri", "terminatePostUri", "purgeHistoryDeleteUri"} < set(links)


def test_bad_starts_are_refused_with_a_sentence(api: Api) -> None:
    unknown = api.start("nobody", "x")
    assert 400 == unknown.status_code
    assert "known orchestrator functions: " in unknown.json()["ExceptionMessage"]
    assert 400 == api.manage("POST", "orchestrators/fan_out/x", content="{").status_code
    assert 400 == api.start("fan_out", "@x", 1).status_code


def test_the_status_shows_what_is_asked_for(api: Api) -> None:
    api.run("fan_out", "shown", 1)
    plain = api.status("shown", showInput="false").json()
    assert (None, "fan_out", "Completed") == (plain["input"], plain["name"], plain["runtimeStatus"])
    assert "historyEvents" not in plain
    events = api.status("shown", showHistory="true", showHistoryOutput="true").json()["historyEvents"]
    assert "ExecutionStarted" in [event["EventType"] for event in events]
    assert [0] == [event["Result"] for event in events if event["EventType"] == "TaskCompleted"]
    bare = api.status("shown", showHistory="true", showInput="false").json()["historyEvents"]
    assert not any("Result" in event or "Input" in event for event in bare)


def test_instances_are_listed_by_prefix_status_and_page(api: Api) -> None:
    for n in range(3):
        api.run("fan_out", f"listed-{n}", 1)
    query = {"instanceIdPrefix": "listed-", "runtimeStatus": "Completed,Failed", "top": 2}
    first = api.manage("GET", "instances", params=query)
    token = {"x-ms-continuation-token": first.headers["x-ms-continuation-token"]}
    second = api.manage("GET", "instances", params=query, headers=token)
    ids = [i["instanceId"] for page in (first, second) for i in page.json()]
    assert ["listed-0", "listed-1", "listed-2"] == ids
    assert [] == api.manage("GET", "instances", params={**query, "runtimeStatus": "Failed"}).json()
    assert 400 == api.manage("GET", "instances", params={"runtimeStatus": "Odd"}).status_code


def test_the_links_follow_the_address_that_was_called(api: Api) -> None:
    port = api.host.base_url.rpartition(":")[2]
    with httpx.Client(base_url=f"http://localhost:{port}", trust_env=False, timeout=LIMIT_S) as http:
        path = "/runtime/webhooks/durabletask/orchestrators/fan_out"
        assert http.post(path, json="1").json()["statusQueryGetUri"].startswith(f"http://localhost:{port}/")


def _instances(api: Api) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = api.manage("GET", "instances").json()
    return listed
