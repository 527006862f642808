"""GET /model: what the model in use says of itself."""

from fastapi import APIRouter, Request

from service.web.problem_documents import documented_problems
from service.web.schemas import ModelCard, model_card

router = APIRouter(tags=["model"])


@router.get(
    "/model",
    summary="Labels, thresholds, input, version, figures, licence, and how it runs here",
    responses=documented_problems("not_ready", "startup_failed", path="/model"),
)
async def model(request: Request) -> ModelCard:
    """The model card from the file, the execution provider that runs it, and how it was tuned to this machine."""
    serving = request.app.state.lifecycle.serving()
    return model_card(serving.detector, serving.execution)
