"""A plan's file becomes a base and one arm per change, or is refused with what is wrong in it."""

import pytest

from model_training import recipes
from model_training.configuration import AugmentationConfiguration, TrainingConfiguration
from model_training.errors import CheckpointError, InvalidConfiguration
from model_training.experiments.plan import Plan, planned, read

RECIPE = TrainingConfiguration(epochs=12, augmentation=AugmentationConfiguration(mosaic=0.3))
HEAD = "seeds = [4, 5]\n[base]\nset = { epochs = 3, augmentation.crop = 0.4 }\n"
MOSAICS = '[[change]]\nname = "No mosaics!"\nwhy = "four in one"\nset = { augmentation.mosaic = 0.0 }\n'
TEACHER = '[[change]]\nname = "no teacher"\nwhy = "its opinion"\nteacher = "none"\n'


@pytest.fixture
def plan_of(tmp_path):
    def plan(text, said="boxes"):
        (tmp_path / "plan.toml").write_text(text)
        return planned(read(tmp_path / "plan.toml"), RECIPE, said)

    return plan


def test_a_change_differs_from_the_base_in_what_it_sets_alone(plan_of):
    base, mosaics, teacher = plan_of(HEAD + MOSAICS + TEACHER).arms
    assert (base.configuration.epochs, base.configuration.augmentation.crop) == (3, 0.4)
    assert base.configuration.augmentation.mosaic == 0.3
    without = base.configuration.augmentation.model_copy(update={"mosaic": 0.0})
    assert mosaics.configuration == base.configuration.model_copy(update={"augmentation": without})
    assert mosaics.changes == {"augmentation.mosaic": 0.0}
    assert teacher.configuration == base.configuration
    assert [arm.teacher for arm in (base, mosaics, teacher)] == ["boxes", "boxes", "none"]


def test_a_run_is_one_pass_with_its_seed_in_a_folder_of_its_own(plan_of):
    """Train rows stand for the whole budget, already drawn by the rule for sources."""
    mosaics = plan_of(HEAD + MOSAICS).changed[0]
    run = mosaics.configuration_of(5)
    assert (run.epochs, run.source_exponent, run.seed) == (1, 1.0, 5)
    assert mosaics.folder(5).as_posix() == "seed_5/no_mosaics"


def test_keys_with_dots_may_be_quoted(plan_of):
    quoted = MOSAICS.replace("augmentation.mosaic", '"augmentation.mosaic"')
    assert plan_of(HEAD + quoted) == plan_of(HEAD + MOSAICS)


def test_a_teacher_says_no_more_than_its_file_holds(plan_of):
    """Presence scores alone are no boxes, whatever is asked for."""
    assert [arm.teacher for arm in plan_of(HEAD + MOSAICS + TEACHER, said="scores").arms] == [
        "scores",
        "scores",
        "none",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + MOSAICS.replace("0.0", "0.3"), "'No mosaics!' changes nothing"),
        (
            HEAD + MOSAICS.replace("augmentation.mosaic = 0.0", "epochs = 4"),
            "sets epochs; all arms share labels, seed,",
        ),
        (
            HEAD + MOSAICS.replace("augmentation.mosaic", "augmentation.mosaics"),
            "'No mosaics!': .*mosaics: extra inputs",
        ),
        (HEAD + MOSAICS + MOSAICS, "change names.* are base, no_mosaics, no_mosaics; they must be distinct"),
        (HEAD + MOSAICS.replace("No mosaics!", "Base"), "they must be distinct"),
        (HEAD + MOSAICS.replace("No mosaics!", "?"), "and not empty"),
        (HEAD.replace("[4, 5]", "[4, 4]") + MOSAICS, "seeds are 4, 4; they must be distinct"),
        (HEAD.replace("epochs = 3", "labels = ['car']") + MOSAICS, "the labels are those of DATA"),
        (HEAD, "change: field required"),
        (HEAD + TEACHER.replace('"none"', '"half"'), "change.0.teacher: input should be 'none', 'scores' or 'boxes'"),
        (HEAD + MOSAICS + "cost = 3\n", "change.0.cost: extra inputs are not permitted"),
        ("seeds = [", "plan.toml is no TOML: "),
    ],
)
def test_a_plan_that_cannot_be_is_refused_by_name(plan_of, text, message):
    with pytest.raises(InvalidConfiguration, match=message):
        plan_of(text)


def test_taking_away_a_teacher_that_is_not_there_changes_nothing(plan_of):
    with pytest.raises(InvalidConfiguration, match=r"'no teacher' changes nothing: .* whose teacher says: none"):
        plan_of(HEAD + TEACHER, said="none")


def test_a_plan_comes_back_from_its_folder(plan_of, tmp_path):
    plan = plan_of(HEAD + MOSAICS + TEACHER)
    plan.save(tmp_path / "new")
    assert Plan.load(tmp_path / "new") == plan
    with pytest.raises(CheckpointError, match="holds no experiments"):
        Plan.load(tmp_path)


@pytest.mark.parametrize("name", ["experiments_1.toml", "experiments_2.toml"])
def test_the_plans_for_the_default_model_can_be_trained(repository, name):
    """Each of their changes is one to the recipe that they name."""
    declaration = read(repository / "model_training" / name)
    plan = planned(declaration, recipes.recipe(declaration.recipe), "boxes")
    assert len(plan.seeds) == 3
    assert len(plan.changed) == len(declaration.changes)
