"""What docs/architecture.md says of the layout is what tests/test_architecture.py holds."""

from pathlib import Path

import pytest

from service.inference.artifact import EVIDENCE, INPUT, METADATA_KEY, PROBABILITIES
from tests.document import rows
from tests.test_architecture import INFERENCE_ORDER, SERVICE_ORDER, TRAINING_ORDER


@pytest.fixture(scope="module")
def document(repository: Path) -> str:
    return (repository / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("heading", "order"),
    [
        ("\n## service\n", SERVICE_ORDER),
        ("\n### service/inference\n", INFERENCE_ORDER),
        ("\n## model_training\n", TRAINING_ORDER),
    ],
    ids=["service", "inference", "model_training"],
)
def test_each_table_has_the_modules_in_the_order_that_imports_obey(
    document: str, heading: str, order: tuple[str, ...]
) -> None:
    """A new module gets its row here, beside its place in the order."""
    told = [cells[0].strip("`") for cells in rows(document.partition(heading)[2], "Module")]
    assert told == [module.rpartition(".")[2] for module in order]


def test_the_parts_of_the_file_are_those_of_the_contract(document: str) -> None:
    parts = [cells[0] for cells in rows(document, "Part of the file")]
    assert parts == [
        f"input `{INPUT}`",
        f"output `{PROBABILITIES}`",
        f"output `{EVIDENCE}`",
        f"metadata `{METADATA_KEY}`",
    ]


def test_every_path_that_is_named_exists(document: str, repository: Path) -> None:
    """Modules, packages and folders in backquotes; a star stands for what there are several of."""
    named = [part for part in document.split("`")[1::2] if part.startswith(("service/", "tests/", "model_training/"))]
    assert len(named) > 5
    assert [path for path in named if not list(repository.glob(path))] == []
