"""What several commands are given, read alike."""

import pytest

from model_training.commands.arguments import chosen_test_sets, class_numbers
from model_training.errors import InvalidConfiguration
from tests.model_training.tables import table_of

LABELS = ("pedestrian", "car", "bicycle")


@pytest.mark.parametrize(
    ("choices", "numbers"),
    [
        ([], {"pedestrian": 0, "car": 2}),
        (["bicycle=1"], {"pedestrian": 0, "car": 2, "bicycle": 1}),
        (["car=7"], {"pedestrian": 0, "car": 7}),
        (["bicycle=1", "car=none", "pedestrian=none"], {"bicycle": 1}),
    ],
)
def test_a_class_that_is_chosen_goes_over_cocos_and_leaves_the_others(choices, numbers):
    assert class_numbers(choices, LABELS) == numbers


def test_a_detector_that_knows_no_label_is_refused():
    with pytest.raises(InvalidConfiguration, match="knows none of the labels car, tram; say which"):
        class_numbers(["car=none"], ["car", "tram"])


def test_two_test_sets_of_one_name_are_refused():
    """The second would take the first one's place, and its figures would be missed by nobody."""
    table = table_of([[1], [0]], sources=("town", "country"), splits=("test", "test"))
    assert chosen_test_sets(["road=town+country"], table) == {"road": ("town", "country")}
    with pytest.raises(InvalidConfiguration, match="'road=country': there is a test set road already"):
        chosen_test_sets(["road=town", "road=country"], table)
