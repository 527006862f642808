"""GET /model: what the model in use says of itself."""

from fastapi import APIRouter, Request

from service.web.problem_documents import documented_problems
from service.web.schemas import ModelCard, model_card

router = APIRouter(tags=["model"])


@router.get(
    "/model",
    summary="Labels, thresholds, input, version, figures and licence",
    responses=documented_problems("not_ready", "startup_failed", path="/model"),
)
async def model(request: Request) -> ModelCard:
    """The model card from the file, and the execution provider that runs it."""
    return model_card(request.app.state.lifecycle.serving().detector)
