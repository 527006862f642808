"""A folder that cannot be listed, whoever asks: root may list any."""

import os

import pytest


def refuse_to_list(refused: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the folder that is called so refuse."""
    scan = os.scandir

    def refuse(folder: str) -> object:
        if folder == refused:
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
