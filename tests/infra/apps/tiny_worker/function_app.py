"""The smallest app with every kind of function that matchcut has: for the tests of worker_check."""

from typing import TypedDict

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)
jobs = df.Blueprint()


@jobs.route(route="jobs/{id:regex(^[a-z0-9-]+$)}", methods=["GET", "DELETE"])
@jobs.durable_client_input(client_name="client")
async def job_status(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    return func.HttpResponse(status_code=204)


@jobs.route(route="health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def health(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("ok")


@jobs.orchestration_trigger(context_name="context", orchestration="job")
def run_job(context: df.DurableOrchestrationContext):  # type: ignore[no-untyped-def]
    return (yield context.call_activity("plan_job", None))


class Task(TypedDict):
    job: str


@jobs.activity_trigger(input_name="task", activity="plan_job")
def plan_job(task: Task) -> Task:
    return task


@jobs.activity_trigger(input_name="task", activity="start_more")
@jobs.durable_client_input(client_name="client")
async def start_more(task: Task, client: df.DurableOrchestrationClient) -> Task:
    return task


@jobs.timer_trigger(schedule="%CLEAN_AT%", arg_name="timer", run_on_startup=False)
@jobs.durable_client_input(client_name="client")
async def clean(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    return None


@jobs.timer_trigger(schedule="0 */5 * * * *", arg_name="timer")
def tick(timer: func.TimerRequest) -> None:
    return None


app.register_functions(jobs)
