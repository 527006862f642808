"""A label table of painted frames, on which a very small network learns within seconds.

A frame shows a red square, a green square, both or neither on grey; every fifth entry is unknown.
"""

from pathlib import Path

import cv2
import numpy as np

LABELS = ("red", "green")
COLOURS_BGR = {"red": (30, 30, 220), "green": (30, 200, 30)}


def write_painted_frames(folder: Path, count: int = 56, test: int = 10) -> Path:
    """labels.csv and boxes.csv in `folder`, with `count` train rows of two sources and `test` test rows of a third."""
    (folder / "images").mkdir(parents=True)
    labels, boxes = ["image,red,green,split,group,source,licence"], ["image,label,x0,y0,x1,y1"]
    for number in range(count + test):
        split, source = ("train", f"painter_{number % 2}") if number < count else ("test", "gallery")
        name, entries = f"images/{number}.jpg", [number % 2, number // 2 % 2]
        drawn = _paint(folder / name, entries, number)
        known = ["" if split == "train" and (number + j) % 5 == 4 else str(e) for j, e in enumerate(entries)]
        labels.append(f"{name},{known[0]},{known[1]},{split},scene{number},{source},CC0-1.0")
        said = [label for label, entry in zip(LABELS, known, strict=True) if entry == "1"]
        boxes += [f"{name},{label},{','.join(map(str, drawn[label]))}" for label in said]
    (folder / "labels.csv").write_text("\n".join(labels) + "\n")
    (folder / "boxes.csv").write_text("\n".join(boxes) + "\n")
    return folder


def _paint(path: Path, entries: list[int], number: int) -> dict[str, tuple[float, float, float, float]]:
    """Write a frame of 64 x 96 pixels; red squares are on the left half, green ones on the right.

    Each of up to 80 frames has a grey of its own: two empty ones of the same grey would be one frame.
    """
    random, frame = np.random.default_rng(number), np.full((64, 96, 3), 80 + number * 37 % 80, np.uint8)
    boxes = {}
    for side, (label, present) in enumerate(zip(LABELS, entries, strict=True)):
        if present:
            x, y = int(random.integers(2, 24)) + 48 * side, int(random.integers(2, 40))
            cv2.rectangle(frame, (x, y), (x + 19, y + 19), COLOURS_BGR[label], -1)
            boxes[label] = (x / 96, y / 64, (x + 20) / 96, (y + 20) / 64)
    cv2.imwrite(str(path), frame)
    return boxes
