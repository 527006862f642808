"""Which class of a COCO detector stands for a label."""

from typing import Final

COCO_CLASSES: Final = {"pedestrian": 0, "car": 2, "stop_sign": 11, "traffic_light": 9}
"""Numbers among COCO's 80 classes, as YOLOX counts them."""
