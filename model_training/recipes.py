"""Named training configurations: each function returns one in full, frozen. Used by the command line alone."""

from collections.abc import Callable

from model_training.configuration import AugmentationConfiguration, NetworkConfiguration, TrainingConfiguration
from model_training.errors import InvalidConfiguration


def street() -> TrainingConfiguration:
    """The embedded default model: four labels, EfficientNet-Lite0, an hour or one and a half on two cores."""
    return TrainingConfiguration(
        # As many pixels as int8 on one core can take and still answer before a small detector does.
        height=320,
        width=480,
        # Smaller batches cost less and show objects at more sizes; the last quarter is trained as it is served.
        smallest_scale=0.6,
        # The first stages keep their ImageNet start: their gradients are a third of a step on a CPU.
        network=NetworkConfiguration(frozen_stages=3, drop_path=0.1, sharpness=2.2),
        # Four thousand frames are soon known by heart: strong changes, and nothing claimed that cannot be seen.
        # Mosaics and pasted objects cost more than they brought, see EXPERIMENTS.md.
        augmentation=AugmentationConfiguration(zoom_out=0.3, largest_canvas=2.0, smallest_object_px=6.0),
        epochs=12,
        patience=12,
        learning_rate=2e-3,
        trunk_rate=0.5,
        average_share=0.1,
        soft_weight=1.0,
        # A detector's view of every changed frame: targets without end, so the frames are not learned by heart.
        imitation_weight=1.0,
    )


def smoke() -> TrainingConfiguration:
    """A very small network for a minute: shows that data and machine are in order, not that anything was learned."""
    return TrainingConfiguration(
        height=64,
        width=96,
        network=NetworkConfiguration(trunk="test_efficientnet", pretrained="none", head_width=16),
        epochs=1,
        batch_size=8,
        loader_workers=0,
    )


def comparison() -> TrainingConfiguration:
    """Each network of `roadcue-train compare`: small frames and few passes, since there are many of them."""
    return TrainingConfiguration(
        height=128,
        width=192,
        network=NetworkConfiguration(frozen_stages=3),
        epochs=2,
        checkpoint_every_steps=100,
    )


RECIPES: dict[str, Callable[[], TrainingConfiguration]] = {
    recipe.__name__: recipe for recipe in (street, smoke, comparison)
}


def recipe(name: str) -> TrainingConfiguration:
    """The recipe called `name`; raises InvalidConfiguration naming those there are."""
    if name not in RECIPES:
        raise InvalidConfiguration(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]()
