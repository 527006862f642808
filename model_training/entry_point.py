"""The command `roadcue-train`, which is there after `pip install roadcue` too, without the libraries that it needs."""

import sys


def main() -> None:
    """Run `roadcue-train`; one line and exit code 1 where the extra `training` is not installed."""
    try:
        from model_training.cli import main as command

        command()
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] in ("service", "model_training"):
            raise
        needs = "roadcue-train needs the libraries of training: pip install 'roadcue[training]'"
        sys.exit(f"{needs} ({missing.name} is not installed)")
