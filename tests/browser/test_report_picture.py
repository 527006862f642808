"""The program that draws the README's pictures of reports."""

import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

from model_training.cli import main
from tests.model_training.painted_frames import write_painted_frames

pytestmark = pytest.mark.browser


def drawn(repository: Path, page: Path, target: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    program = repository / "docs" / "pictures" / "report_picture.py"
    command = [sys.executable, program, page, target, *options]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=300)


def test_a_report_is_drawn_from_a_heading_on(repository: Path, tmp_path: Path) -> None:
    """As large as the README's picture of the data report."""
    data, page, target = write_painted_frames(tmp_path / "data", count=12), tmp_path / "page.html", tmp_path / "a.png"
    (data / "data.toml").write_text('labels = ["red", "green"]\n[[sources]]\nformat = "table"\npath = "."\n')
    assert CliRunner().invoke(main, ["data", str(data / "data.toml"), "--output", str(page)]).exit_code == 0
    done = drawn(repository, page, target, "--heading", "Entries per label", "--height", "590")
    assert done.returncode == 0, done.stderr
    seen, shown = (cv2.imread(str(path)) for path in (target, repository / "docs" / "images" / "data-report.png"))
    assert seen is not None
    assert seen.shape == shown.shape
    assert seen.std() > 10
    absent = drawn(repository, page, tmp_path / "b.png", "--heading", "No such heading")
    assert (absent.returncode, absent.stderr) == (1, "Error: no heading is 'No such heading'\n")


def test_a_photograph_in_the_picture_is_refused(repository: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<h2>Mistakes</h2><img width="9" height="9" src="data:image/jpeg;base64,/9j/">')
    done = drawn(repository, page, tmp_path / "a.png")
    assert done.returncode == 1
    assert "1 photographs of" in done.stderr
    assert not (tmp_path / "a.png").exists()
