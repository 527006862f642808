"""Small real image files for tests."""

from pathlib import Path

from PIL import Image


def write_image(path: Path, shade: int = 0, size: tuple[int, int] = (100, 50)) -> Path:
    """A plain image; another shade gives a file of other bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade % 256, 30, 255 - shade % 256)).save(path)
    return path
