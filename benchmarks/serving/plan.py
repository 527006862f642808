"""What is measured: which frames, bodies and clients, how often and how long."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.serving.frames import SIZES
from benchmarks.serving.peers.launch import Body

KEY_SIZE: Final = "1280x720"
KEY_CLIENTS: Final = (1, 16, 64)
"""What is asked of the service is asked here, with raw bodies; measured more often than the rest."""
THROUGHPUT_CLIENTS: Final = (16, 64)
CROWD_CLIENTS: Final = 256
"""So many clients fill every queue first: only what comes seconds later is how a server answers them."""
CROWD_TIMES_AS_LONG: Final = 3


@dataclass(frozen=True, slots=True)
class Cell:
    """One thing to measure everybody at."""

    size: str
    body: Body
    clients: int


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. `rounds` are of all cells, `key_rounds` of those that something is asked of."""

    sizes: tuple[str, ...]
    bodies: tuple[Body, ...]
    clients: tuple[int, ...]
    rounds: int
    seconds: int
    key_rounds: int
    key_seconds: int
    warm_up_seconds: int
    steady_seconds: float
    overload_seconds: float
    calm_seconds: float
    overload_turns: int
    profile_seconds: int

    @property
    def key_size(self) -> str:
        """1280x720, or the first where that is not measured."""
        return KEY_SIZE if KEY_SIZE in self.sizes else self.sizes[0]

    def is_key(self, cell: Cell) -> bool:
        """Whether something is asked of the service here."""
        return (cell.size, cell.body) == (self.key_size, "raw") and cell.clients in KEY_CLIENTS

    def seconds_of(self, cell: Cell) -> int:
        """How long each measurement takes."""
        if cell.clients >= CROWD_CLIENTS:
            return CROWD_TIMES_AS_LONG * self.seconds
        return self.key_seconds if self.is_key(cell) else self.seconds

    def rounds_of(self, body: Body) -> Iterator[list[Cell]]:
        """The cells of each round."""
        cells = [Cell(size, body, clients) for size in self.sizes for clients in self.clients]
        yield from ([cell for cell in cells if turn < self._times(cell)] for turn in range(self._most(cells)))

    def _times(self, cell: Cell) -> int:
        return self.key_rounds if self.is_key(cell) else self.rounds

    def _most(self, cells: list[Cell]) -> int:
        return max(map(self._times, cells), default=0)


FULL: Final = Plan(
    sizes=SIZES,
    bodies=("raw", "multipart"),
    clients=(1, 8, 16, 64, 256),
    rounds=1,
    seconds=4,
    key_rounds=7,
    key_seconds=5,
    warm_up_seconds=2,
    steady_seconds=8,
    overload_seconds=10,
    calm_seconds=5,
    overload_turns=5,
    profile_seconds=10,
)
QUICK: Final = Plan(
    sizes=(KEY_SIZE,),
    bodies=("raw", "multipart"),
    clients=(1, 16),
    rounds=1,
    seconds=1,
    key_rounds=1,
    key_seconds=1,
    warm_up_seconds=1,
    steady_seconds=0.5,
    overload_seconds=1.5,
    calm_seconds=1.5,
    overload_turns=1,
    profile_seconds=2,
)
