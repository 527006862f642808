"""A variant against float32; the file against its network is tested where it is exported."""

import numpy as np
import pytest

from model_training.parity import LARGEST_MAP_DIFFERENCE, SetParity, map_parity
from tests.model_training.tables import table_of


def test_map_is_compared_on_every_set():
    """Present, absent, present: ranked 1, 2, 3 it is (1 + 2/3) / 2, ranked 1, 3, 2 it is 1."""
    sets = {"validation": table_of([[1], [0], [1]], ("car",)), "test": table_of([[1], [0]], ("car",))}
    float32 = {"validation": np.array([[0.9], [0.8], [0.7]]), "test": np.array([[0.9], [0.1]])}
    variant = {"validation": np.array([[0.9], [0.6], [0.7]]), "test": np.array([[0.8], [0.2]])}
    found = map_parity(sets, float32, variant)
    assert [one.name for one in found] == ["validation", "test"]
    assert (found[0].float32, found[0].variant) == pytest.approx((5 / 6, 1))
    assert found[1].difference == 0
    assert [one.holds for one in found] == [False, True]


def test_label_of_one_kind_and_a_set_without_another_are_left_out():
    sets = {"mixed": table_of([[1, 1], [0, 1]], ("car", "tram")), "alike": table_of([[1, 1]], ("car", "tram"))}
    scores = {name: np.full(table.entries_NL.shape, 0.5) for name, table in sets.items()}
    (found,) = map_parity(sets, scores, scores)
    assert (found.name, found.float32) == ("mixed", 0.5)


@pytest.mark.parametrize(
    ("variant", "holds"), [(0.9, True), (0.9049, True), (0.8951, True), (0.906, False), (0.894, False)]
)
def test_difference_counts_in_both_directions(variant, holds):
    """A variant that is better by chance is another model too."""
    assert LARGEST_MAP_DIFFERENCE == 0.005
    assert SetParity("test", 0.9, variant).holds is holds


def test_nan_does_not_hold():
    assert not SetParity("test", 0.9, float("nan")).holds
