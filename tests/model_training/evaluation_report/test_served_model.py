import numpy as np
import pytest

from model_training.errors import InvalidConfiguration
from model_training.evaluation_report.served_model import ServedModel
from model_training.tracking import untracked
from service.inference.artifact import Artifact
from tests.model_training.images import write_image
from tests.model_training.tables import table_of
from tests.tiny_model import HEIGHT, WIDTH, write_tiny_model


@pytest.fixture
def artifact(tmp_path):
    return Artifact.read(write_tiny_model(tmp_path / "tiny.onnx", threshold=0.3))


def test_probabilities_are_those_of_each_image(artifact, tmp_path):
    """The tiny model answers the mean of red and of green; 18 images are more than a batch."""
    images = [write_image(tmp_path / f"{row}.png", 10 * row, (WIDTH, HEIGHT)) for row in range(18)]
    model = ServedModel.about(artifact, table_of([[1, 1]], ("red", "green")), 1)
    found = model.probabilities(images)
    assert found[:, 0] == pytest.approx(np.arange(18) * 10 / 255, abs=1e-5)
    assert (model.size, model.thresholds) == ((HEIGHT, WIDTH), {"red": 0.3, "green": 0.3})


def test_no_images_have_no_probabilities(artifact):
    model = ServedModel.about(artifact, table_of([[1, 1]], ("red", "green")), 1)
    assert model.probabilities([]).shape == (0, 2)


def test_batches_are_counted_before_they_are_run(artifact, tmp_path):
    """So that a bar knows its end."""
    asked = []

    def tracking(items, description, total):
        asked.append((description, total))
        return untracked(items, description, total)

    image = write_image(tmp_path / "0.png", 0, (WIDTH, HEIGHT))
    ServedModel.about(artifact, table_of([[1, 1]], ("red", "green")), 1).probabilities([image] * 17, "rows", tracking)
    assert asked == [("rows", 2)]


def test_other_labels_than_those_of_the_data_are_refused(artifact):
    with pytest.raises(InvalidConfiguration, match=r"answers \('red', 'green'\), the data is about \('car', 'tram'\)"):
        ServedModel.about(artifact, table_of([[1, 1]], ("car", "tram")), 1)
