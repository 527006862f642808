"""How the process is: for orchestrators, for people and for Prometheus."""

from fastapi import APIRouter, Request, Response

from service.telemetry.exposition import OPENMETRICS, TEXT, exposition
from service.web.problem_documents import documented_problems
from service.web.schemas import Health, Live, Ready, health_of

router = APIRouter(tags=["health"])


@router.get("/health", summary="Live, ready, provider, model, uptime and queue")
async def health(request: Request) -> Health:
    """For people: 200 as long as the process answers, whatever it says."""
    return health_of(request.app.state.lifecycle)


@router.get("/health/live", summary="Whether the process answers")
async def live() -> Live:
    """200, also while loading and draining: restarting would not help."""
    return Live()


@router.get(
    "/health/ready",
    summary="Whether the service wants traffic",
    responses=documented_problems("not_ready", "draining", "startup_failed", path="/health/ready"),
)
async def ready(request: Request) -> Ready:
    """200 once the model is loaded, has reproduced its self-test and is warm; 503 before, and from SIGTERM on."""
    request.app.state.lifecycle.refuse_unready()
    return Ready()


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {form: {"schema": {"type": "string"}} for form in (TEXT, OPENMETRICS)}}},
)
async def metrics(request: Request) -> Response:
    """Counters, gauges and histograms in base units; in OpenMetrics where Accept asks for it, else as text."""
    collector = await request.app.state.gather_metrics()
    content, content_type = exposition(collector, request.headers.get("accept", ""))
    return Response(content, headers={"Content-Type": content_type})


# Some load balancers probe with HEAD.
for _path, _route in (("/health", health), ("/health/live", live), ("/health/ready", ready)):
    router.add_api_route(_path, _route, methods=["HEAD"], include_in_schema=False)
