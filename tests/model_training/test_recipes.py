import pytest

from model_training.configuration import TrainingConfiguration, validated
from model_training.errors import InvalidConfiguration
from model_training.recipes import RECIPES, recipe


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_full_valid_configuration_by_its_name(name):
    found = recipe(name)
    assert isinstance(found, TrainingConfiguration)
    assert validated(found.model_dump()) == found
    assert RECIPES[name].__name__ == name
    assert RECIPES[name].__doc__


@pytest.mark.parametrize("name", RECIPES)
def test_frames_of_every_recipe_fill_the_evidence_grid(name):
    """Height and width are whole numbers of the trunk's coarsest stride, 32, so that no cell is half outside."""
    assert recipe(name).height % 32 == 0
    assert recipe(name).width % 32 == 0


def test_unknown_recipe_is_named_beside_those_there_are():
    with pytest.raises(InvalidConfiguration, match=r"no recipe 'stret'; there are street, smoke"):
        recipe("stret")


def test_smoke_needs_no_weights_and_no_second_process():
    assert recipe("smoke").network.pretrained == "none"
    assert recipe("smoke").loader_workers == 0
