"""`roadcue label` as a process: it says where it listens, and Ctrl-C is its ordinary end."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from service.label_folder.folder import LabelFolder
from tests.conftest import REPOSITORY
from tests.service.label_folder.frames import ROOMY, uncertain

PATIENCE_S = 60


def test_label_serves_its_folder_on_this_machine_until_ctrl_c(tmp_path: Path) -> None:
    folder = LabelFolder(tmp_path / "uncertain")
    folder.prepare(["car", "sign"])
    folder.keep([uncertain("a")], ROOMY)
    command = [sys.executable, "-m", "service", "label", str(folder.path), "--port", "0"]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            assert process.stderr.readline() == f"Frames in {folder.path}: 1\n"
            url = re.findall(r"http://127\.0\.0\.1:\d+/", process.stderr.readline())[0]
            assert len(httpx.get(f"{url}frames", timeout=PATIENCE_S).json()["frames"]) == 1
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()
