"""What the service says about itself: metrics, the form of the log, and traces where they are wanted."""

from service.telemetry.logs import configure_logging as configure_logging
from service.telemetry.metrics import Metrics as Metrics
