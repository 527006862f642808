import pytest
from pydantic import ValidationError

from model_training.configuration import AugmentationConfiguration, TrainingConfiguration, validated
from model_training.errors import InvalidConfiguration


def test_empty_document_gives_the_default():
    assert validated({}) == TrainingConfiguration()


def test_document_reaches_into_every_part():
    found = validated({"epochs": 3, "network": {"trunk": "resnet18"}, "augmentation": {"crop": 0}})
    assert (found.epochs, found.network.trunk, found.augmentation.crop) == (3, "resnet18", 0)
    assert found.network.head_width == TrainingConfiguration().network.head_width


def test_every_unknown_key_is_named_with_its_place():
    document = {"epoch": 3, "network": {"trunc": "x"}, "augmentation": {"mirrors": 1}}
    with pytest.raises(InvalidConfiguration) as raised:
        validated(document)
    for key in ("epoch: ", "network.trunc: ", "augmentation.mirrors: "):
        assert f"{key}extra inputs are not permitted" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"epochs": 0}, "epochs: input should be greater than 0"),
        ({"epochs": "many"}, "epochs: input should be a valid integer"),
        ({"validation": 1.5}, "validation: input should be less than or equal to 1"),
        ({"precision": "float16"}, "precision: input should be 'bfloat16' or 'float32'"),
        ({"network": {"pretrained": "yes"}}, "network.pretrained: input should be 'imagenet', 'hub' or 'none'"),
        ({"learning_rate": float("inf")}, "learning_rate: input should be a finite number"),
        ({"learning_rate": float("nan")}, "learning_rate: input should be"),
        ({"label_weights": {"car": -1}}, "label_weights.car: input should be greater than or equal to 0"),
        ({"augmentation": {"largest_canvas": 0.5}}, "augmentation.largest_canvas: input should be greater than or"),
        ({"augmentation": None}, "augmentation: input should be a valid dictionary"),
        (["epochs"], "document: input should be a valid dictionary"),
    ],
)
def test_bad_value_is_named_with_what_is_allowed(document, message):
    with pytest.raises(InvalidConfiguration) as raised:
        validated(document)
    assert message in str(raised.value)


def test_configuration_cannot_be_changed():
    configuration = TrainingConfiguration()
    with pytest.raises(ValidationError, match="frozen"):
        configuration.epochs = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        configuration.augmentation.crop = 0  # type: ignore[misc]


def test_configuration_survives_being_written_and_read():
    """A checkpoint keeps it as JSON."""
    changed = TrainingConfiguration(
        label_weights={"car": 2.0}, augmentation=AugmentationConfiguration(unmirrored=("stop_sign", "speed_limit"))
    )
    assert validated(changed.model_dump(mode="json")) == changed
    assert TrainingConfiguration.model_validate_json(changed.model_dump_json()) == changed


def test_default_labels_are_the_four_of_the_road():
    assert TrainingConfiguration().labels == ("pedestrian", "car", "stop_sign", "traffic_light")
