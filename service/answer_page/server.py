"""The answer page on a port of this machine, for one person, until Ctrl-C."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import click
import uvicorn

from service.answer_page.app import create_answer_page
from service.errors import LabelFolderUnusable
from service.label_folder.folder import LabelFolder
from service.label_folder.tables import LABELS
from service.listener import listen


def serve_answer_page(path: Path, host: str, port: int, launch: Callable[[str], object] | None = None) -> None:
    """Serve the page and say where; `launch` is given its address. Raises RoadcueError where it cannot begin."""
    folder = LabelFolder(path)
    if not (path / LABELS).is_file():
        raise LabelFolderUnusable(f"{path} holds no {LABELS}; roadcue predict --uncertain {path} FRAMES makes one")
    frames = len(folder.listed())
    listener = listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listener.getsockname()[1]}/"
    click.echo(f"Frames in {path}: {frames}\nAnswer at {url}   (Ctrl-C ends)", err=True)
    if launch:
        launch(url)
    configuration = uvicorn.Config(create_answer_page(folder, host), log_config=None, access_log=False, ws="none")
    # uvicorn ends in order and then raises the signal again: for a person it is the ordinary end.
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(configuration).run(sockets=[listener])
