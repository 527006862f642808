"""The plan trains every network once and gives each arm of a seed the same chances."""

import pytest

from model_training.comparison.plan import Plan, planned
from model_training.configuration import NetworkConfiguration, TrainingConfiguration
from model_training.errors import CheckpointError, InvalidConfiguration

BASE = TrainingConfiguration(
    labels=("car", "tram", "bus", "sign"),
    network=NetworkConfiguration(trunk="small"),
    label_weights={"car": 2.0, "sign": 3.0},
    epochs=5,
    seed=7,
)


def plan(**changes):
    wanted = {
        "configuration": BASE,
        "seeds": 3,
        "fractions": (0.25, 0.5, 1.0),
        "larger_trunk": "large",
        "controls": ("same_entries", "averaged"),
        "test_sets": {},
        **changes,
    }
    return planned(**wanted)


def test_the_whole_grid_is_counted_by_hand():
    """A seed: 3 shares x (1 + 4), 4 with the same entries, 3 more joint ones to average, 1 + 4 of the larger trunk."""
    assert len(plan().cells()) == 3 * (15 + 4 + 3 + 5)
    assert len({cell.folder for cell in plan().cells()}) == 81
    assert plan().seeds == (7, 8, 9)


def test_a_comparison_that_is_cut_short_is_whole_for_its_first_seeds():
    """Seeds stand outermost."""
    assert [cell.seed for cell in plan().cells()] == [7] * 27 + [8] * 27 + [9] * 27


def test_controls_stand_beside_the_largest_share_of_the_first_trunk_alone():
    settings = {(s.trunk, s.fraction): s.arms for s in plan().settings()}
    assert settings == {
        ("small", 0.25): ("joint", "separate"),
        ("small", 0.5): ("joint", "separate"),
        ("small", 1.0): ("joint", "separate", "same_entries", "averaged"),
        ("large", 1.0): ("joint", "separate"),
    }


def test_averaged_networks_are_the_joint_one_and_others_of_other_random_numbers():
    """As many as labels, so that parameters match; the first of them need not be trained again."""
    wanted = plan()
    full = wanted.settings()[2]
    averaged = wanted.networks(full, "averaged", 8)
    assert averaged[0] == wanted.networks(full, "joint", 8)[0]
    assert len({cell.training_seed for cell in averaged}) == 4
    assert {cell.labels for cell in averaged} == {BASE.labels}


def test_networks_of_one_seed_differ_in_labels_and_trunk_alone():
    """So start, budget, augmentation, rates and random numbers are the same."""
    wanted = plan()
    cells = [cell for cell in wanted.cells() if cell.seed == 8 and not cell.member]
    documents = [wanted.configuration_of(cell).model_dump() for cell in cells]
    for document in documents:
        document["network"].pop("trunk")
        for different in ("labels", "label_weights"):
            document.pop(different)
    assert all(document == documents[0] for document in documents)
    assert documents[0]["seed"] == 8


def test_weights_of_other_labels_are_left_out():
    """A trainer refuses weights of labels that it does not learn."""
    wanted = plan()
    weights = {
        cell.labels: wanted.configuration_of(cell).label_weights for cell in wanted.cells() if len(cell.labels) == 1
    }
    assert weights == {("car",): {"car": 2.0}, ("tram",): {}, ("bus",): {}, ("sign",): {"sign": 3.0}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fractions": (0.5, 0.25)}, "must be distinct and ascending"),
        ({"fractions": (0.5, 1.5)}, "less than or equal to 1"),
        ({"larger_trunk": "small"}, "the larger trunk is small, as the other one is"),
        ({"controls": ("narrow",)}, "'same_entries' or 'averaged'"),
        ({"configuration": BASE.model_copy(update={"labels": ("car",)})}, "there is nothing to share"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes, message):
    with pytest.raises(InvalidConfiguration, match=message):
        plan(**changes)


def test_a_plan_comes_back_from_its_folder(tmp_path):
    wanted = plan(test_sets={"four": ("a", "b")})
    wanted.save(tmp_path / "new")
    assert Plan.load(tmp_path / "new") == wanted


def test_a_folder_without_a_plan_and_a_damaged_plan_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="holds no comparison"):
        Plan.load(tmp_path)
    (tmp_path / "plan.json").write_text('{"seeds": []}')
    with pytest.raises(
        CheckpointError, match=r"plan\.json is no plan of this version: .*configuration: field required"
    ):
        Plan.load(tmp_path)
