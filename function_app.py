"""The function app: registers the blueprints, and nothing else."""

import azure.durable_functions as df
import azure.functions as func

from activities.call_back import blueprint as call_back
from activities.close_job import blueprint as close_job
from activities.expand_batch import blueprint as expand_batch
from activities.plan_job import blueprint as plan_job
from activities.plan_look import blueprint as plan_look
from activities.score_segment import blueprint as score_segment
from activities.start_next import blueprint as start_next
from activities.write_cut import blueprint as write_cut
from orchestrator.blueprint import blueprint as orchestrators
from orchestrator.http.batches import blueprint as http_batches
from orchestrator.http.jobs import blueprint as http_jobs
from orchestrator.http.service import blueprint as http_service
from orchestrator.timers import blueprint as timers

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)
for blueprint in (
    http_jobs,
    http_batches,
    http_service,
    orchestrators,
    timers,
    plan_job,
    plan_look,
    score_segment,
    write_cut,
    close_job,
    start_next,
    expand_batch,
    call_back,
):
    app.register_functions(blueprint)
