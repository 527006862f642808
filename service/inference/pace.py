"""How long something takes here at present, measured while it happens."""

from typing import Final

# One measurement moves the mean by a tenth: some twenty frames forget a change of load.
SMOOTHING: Final = 0.1
# The first frame may pay for what is lazily initialised: the least of three is believed first.
FIRST_MEASUREMENTS: Final = 3
# A stall counts as so many times the mean, and at least as much as a frame on a fast machine.
LEAP: Final = 4.0
LEAST_LEAP_S: Final = 0.01
# Each refusal by estimate makes the next one less sure: a wrong estimate would otherwise never be measured again.
DOUBT: Final = 0.95


class Pace:
    """A running mean of seconds that neither a slow first measurement nor a single stall can spoil."""

    def __init__(self) -> None:
        self._measured, self._mean_s, self._trust = 0, 0.0, 1.0

    @property
    def seconds(self) -> float:
        """The mean; 0 before enough was measured."""
        return self._mean_s * self._trust if self._measured >= FIRST_MEASUREMENTS else 0.0

    def record(self, seconds: float) -> None:
        self._measured, self._trust = self._measured + 1, 1.0
        if self._measured <= FIRST_MEASUREMENTS:
            self._mean_s = seconds if self._measured == 1 else min(self._mean_s, seconds)
        else:
            believed_s = min(seconds, max(LEAP * self._mean_s, LEAST_LEAP_S))
            self._mean_s += SMOOTHING * (believed_s - self._mean_s)

    def doubt(self) -> None:
        """Somebody was refused because of this estimate, and so measures nothing."""
        self._trust *= DOUBT
