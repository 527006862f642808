"""roadcue serve."""

import signal
import sys
from typing import Any

import click

from service.commands.settings_flags import given_settings, settings_flags


@click.command("serve")
@settings_flags()
def command(**flags: Any) -> None:
    """Serve the model over HTTP until SIGTERM or Ctrl-C.

    Next: curl -F file=@frame.jpg localhost:8000/predict, or open http://localhost:8000/docs
    """
    # The first process of a container ignores SIGTERM until it handles it; the server takes over once it runs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = given_settings(flags)
    from service.telemetry import configure_logging

    configure_logging(settings.log_format, settings.log_level)
    if settings.workers > 1:
        from service.processes.supervisor import supervise

        supervise(settings)
    else:
        # Imported here: neither a wrong flag nor the parent of several processes should wait for ONNX Runtime.
        from service.app import create_app
        from service.server import serve as serve_until_ended

        serve_until_ended(create_app(settings), settings)
