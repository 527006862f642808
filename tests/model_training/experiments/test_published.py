"""EXPERIMENTS.md says of the second plan what the published scores of each network say."""

from pathlib import Path

import pytest

from model_training.comparison.statistics import Difference
from model_training.experiments.report import markdown
from model_training.experiments.results import Outcome, Results, gathered

# Intervals are drawn anew with few resamples here, and left aside.
FEW = 2


@pytest.fixture(scope="module")
def folder(repository: Path) -> Path:
    return repository / "benchmarks" / "experiments_2"


@pytest.fixture(scope="module")
def published(folder: Path) -> Results:
    return Results.model_validate_json((folder / "results.json").read_bytes())


def points(outcome: Outcome) -> tuple[object, ...]:
    """All of an outcome but its intervals and its time a frame."""

    def of(differences: tuple[Difference, ...]) -> list[tuple[object, ...]]:
        return [(one.label, one.ours, one.theirs, one.difference, one.by_seed, one.n) for one in differences]

    return outcome.arm, outcome.seeds, outcome.training_ratio, of(outcome.labelled), of(outcome.taught)


def test_the_document_holds_the_tables_of_the_published_results(published: Results, repository: Path) -> None:
    text = (repository / "model_training" / "EXPERIMENTS.md").read_text(encoding="utf-8")
    between = text.partition("<!-- experiments_2 -->")[2].partition("<!-- /experiments_2 -->")[0]
    assert markdown(published).strip() == between.strip()


def test_the_published_differences_come_out_of_the_published_scores(published: Results, folder: Path) -> None:
    """Each network's own on held-out rows; what a frame costs is not measured again."""
    ms = {outcome.arm: (outcome.frame_time.ms,) for outcome in published.outcomes}
    again = gathered(published.plan, folder, lambda arms: ms, FEW)
    assert [points(one) for one in again.outcomes] == [points(one) for one in published.outcomes]
    assert again.runs == published.runs


def test_every_change_was_measured_with_all_seeds(published: Results) -> None:
    assert {outcome.seeds for outcome in published.outcomes} == {(0, 1, 2)}
    assert len(published.outcomes) == len(published.plan.arms) == 11
