"""docs/one-network-against-four.md says what the published scores of each network say."""

from pathlib import Path

import pytest

from model_training.comparison.report import MARK, markdown
from model_training.comparison.results import Contrast, Results, gathered

# Intervals are drawn anew with few resamples here, and left aside.
FEW = 2


@pytest.fixture(scope="module")
def folder(repository: Path) -> Path:
    return repository / "benchmarks" / "one_network_against_four"


@pytest.fixture(scope="module")
def published(folder: Path) -> Results:
    return Results.model_validate_json((folder / "results.json").read_bytes())


def points(contrast: Contrast) -> tuple[object, ...]:
    """All of a contrast but its intervals."""
    differences = [
        (one.label, one.ours, one.theirs, one.difference, one.by_seed, one.n, one.positives)
        for one in contrast.differences
    ]
    return contrast.rows, contrast.trunk, contrast.fraction, contrast.ours, contrast.theirs, contrast.seeds, differences


def test_the_document_holds_the_tables_of_the_published_results(published: Results, repository: Path) -> None:
    text = (repository / "docs" / "one-network-against-four.md").read_text(encoding="utf-8")
    between = text.partition(f"<!-- {MARK} -->")[2].partition(f"<!-- /{MARK} -->")[0]
    assert markdown(published).strip() in between
    assert (repository / "docs" / "one-network-against-four.png").is_file()


def test_the_published_differences_come_out_of_the_published_scores(published: Results, folder: Path) -> None:
    """Each network's own, on held-out and on test rows; what a frame costs is not measured again."""
    costs = {(one.trunk, one.fraction): {arm.arm: (arm.ms_per_frame,) for arm in one.arms} for one in published.costs}
    again = gathered(published.plan, folder, lambda setting: costs[setting.trunk, setting.fraction], FEW)
    assert [points(one) for one in again.contrasts] == [points(one) for one in published.contrasts]
    assert [one.cell for one in again.networks] == [one.cell for one in published.networks]


def test_every_network_learned_from_the_same_data_with_the_settings_of_the_plan(published: Results) -> None:
    assert len({one.result.data for one in published.networks}) == 1
    assert {one.result.configuration.imitation_weight for one in published.networks} == {0}
