"""Everything that decides how a network is trained; frozen, validated once, stored with every checkpoint."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_training.errors import InvalidConfiguration

Fraction = Annotated[float, Field(ge=0, le=1)]


class _Configuration(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AugmentationConfiguration(_Configuration):
    """How often and how strongly training frames are changed. Labels stay true; see `augmentation`."""

    crop: Fraction = 0.5
    smallest_crop: Fraction = Field(0.3, description="smallest crop, in fractions of the frame's area")
    mosaic: Fraction = Field(0.0, description="share of samples that are four frames in one")
    paste: Fraction = Field(0.0, description="share of frames into which an object of another frame is put")
    pasted: tuple[str, ...] = Field(
        ("stop_sign", "traffic_light"), description="labels whose boxed objects are put into other frames"
    )
    zoom_out: Fraction = 0.25
    largest_canvas: float = Field(
        1.6, ge=1, description="largest canvas of a zoom-out, in multiples of the frame's side"
    )
    smallest_object_px: float = Field(
        0.0,
        ge=0,
        description="objects whose area's square root is below this in the scaled frame are neither present nor absent",
    )
    mirror: Fraction = 0.5
    unmirrored: tuple[str, ...] = Field(
        ("stop_sign",), description="labels whose objects bear writing: a mirrored one does not exist on a road"
    )
    colour: Fraction = 0.8
    blur: Fraction = 0.1
    noise: Fraction = 0.1
    jpeg: Fraction = 0.2


class NetworkConfiguration(_Configuration):
    """The network and its start."""

    trunk: str = Field("tf_efficientnet_lite0", description="any timm model with features at strides 8, 16 and 32")
    pretrained: Literal["imagenet", "hub", "none"] = "imagenet"
    head_width: int = Field(96, gt=0, description="channels of the evidence head")
    sharpness: float = Field(
        1.4,
        gt=0.1,
        description="sharpness from which the pooling of the maps starts to learn; larger is nearer the maximum",
    )
    drop_path: float = Field(0.0, ge=0, lt=1, description="share of the trunk's residual branches left out at a step")
    frozen_stages: int = Field(
        0, ge=0, description="stem and first stages of the trunk that keep their start; cheaper on a CPU"
    )


class TrainingConfiguration(_Configuration):
    """One training run."""

    labels: tuple[str, ...] = ("pedestrian", "car", "stop_sign", "traffic_light")
    height: int = Field(256, gt=0, description="frame height in pixels")
    width: int = Field(384, gt=0, description="frame width in pixels")
    smallest_scale: float = Field(
        1.0,
        gt=0,
        le=1,
        description="least scale of a batch's frames: each batch draws its own, up to 1",
    )
    full_size_share: Fraction = Field(0.25, description="share of all steps, the last ones, without such scaling")
    network: NetworkConfiguration = NetworkConfiguration()
    augmentation: AugmentationConfiguration = AugmentationConfiguration()

    epochs: int = Field(12, gt=0)
    batch_size: int = Field(24, gt=0, description="frames a step, over all processes")
    learning_rate: float = Field(1e-3, gt=0, description="peak of the one-cycle cosine")
    trunk_rate: Fraction = Field(0.3, description="the trunk's share of the learning rate")
    warmup: Fraction = Field(0.05, description="share of all steps in which the rate rises")
    weight_decay: float = Field(0.02, ge=0)
    average_share: Fraction = Field(
        0.3,
        gt=0,
        description="share of all steps over which the moving average of weights, which is exported, reaches back",
    )
    gradient_norm: float = Field(5.0, gt=0, description="gradients are clipped to this norm")
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    patience: int = Field(5, gt=0, description="epochs without a better validation mAP until training stops")

    label_weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, description="weight of a label in the loss, default 1"
    )
    evidence_weight: float = Field(0.5, ge=0, description="weight of the boxes' loss on the evidence maps")
    soft_weight: float = Field(0.5, ge=0, description="weight of a wholly reliable teacher on unknown entries")
    imitation_weight: float = Field(
        0.0, ge=0, description="weight of a detector's features and scores, imitated in every cell"
    )
    source_exponent: Fraction = Field(
        0.75, description="a source of n frames is drawn as if it had n ** exponent; 1 draws every frame alike"
    )

    validation: Fraction = Field(0.1, description="share of the scene groups held out to choose")
    calibration: Fraction = Field(0.1, description="share of the scene groups held out to calibrate")
    seed: int = 0
    loader_workers: int = Field(1, ge=0, description="processes that decode and augment; 0 does it in the loop")
    checkpoint_every_steps: int = Field(50, gt=0)


def validated(document: object) -> TrainingConfiguration:
    """The configuration in `document`; raises InvalidConfiguration naming every unknown key and bad value."""
    try:
        return TrainingConfiguration.model_validate(document)
    except ValidationError as error:
        raise InvalidConfiguration(f"the training configuration is not valid: {all_errors(error)}") from error


def with_changes(base: TrainingConfiguration, changes: Mapping[str, object]) -> TrainingConfiguration:
    """`base` with other values, by key; dots reach into its parts. Raises InvalidConfiguration as `validated` does.

    >>> with_changes(TrainingConfiguration(), {"augmentation.crop": 0.25}).augmentation.crop
    0.25
    """
    document = base.model_dump(mode="json")
    for key, value in changes.items():
        _place(document, key, value)
    return validated(document)


def _place(document: dict[str, Any], key: str, value: object) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
        if not isinstance(document, dict):
            raise InvalidConfiguration(f"{key}: {parent} is a value, it has no part {last}")
    document[last] = value


def all_errors(error: ValidationError) -> str:
    """What is wrong, in one line: each place and its message."""
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'document'}: {item['msg'][:1].lower()}{item['msg'][1:]}"
        for item in error.errors(include_url=False)
    )
