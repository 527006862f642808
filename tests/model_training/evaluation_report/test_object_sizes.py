import numpy as np

from model_training.evaluation_report.object_sizes import SizeRecall, recall_by_size
from tests.model_training.tables import table_of


def box(width, height):
    """In fractions of a frame."""
    return (0.0, 0.0, width, height)


def test_a_frame_counts_where_its_largest_box_belongs():
    """In a frame of 100 x 200 pixels (height x width): 10 x 10 px, 16 x 16, 8 x 32 (like 16 x 16), 100 x 100."""
    boxes = [
        {"car": (box(0.05, 0.1),)},
        {"car": (box(0.08, 0.16), box(0.01, 0.01))},
        {"car": (box(0.04, 0.32),)},
        {"car": (box(0.5, 1.0),)},
        {},  # present, but nobody has drawn where
    ]
    table = table_of([[1, 0]] * 5, ("car", "sign"), boxes=boxes)
    probabilities = np.array([[0.4, 0], [0.5, 0], [0.49, 0], [0.9, 0], [0.9, 0]])
    found = list(recall_by_size(table, probabilities, {"car": 0.5, "sign": 0.5}, (100, 200)))
    assert found == [
        SizeRecall("car", 0, 16, 1, 0),
        SizeRecall("car", 16, 32, 2, 1),
        SizeRecall("car", 32, None, 1, 1),
    ]
