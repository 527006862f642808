"""labels.csv and scores.csv of a folder, in memory: what people know, and what the model said."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from service.errors import UnlistedFrame, UnreadableLabelTable
from service.label_folder.csv_file import IMAGE, CsvFile, read_csv, replace_file

LABELS, SCORES = "labels.csv", "scores.csv"
ABOUT: Final = ("split", "group", "source", "licence")
SCORED_BY: Final = ("model", "model_version", "distance", "near", "cannot_tell", "bytes")
RESERVED: Final = frozenset({IMAGE, *ABOUT, *SCORED_BY})

Answer = Literal["present", "absent", "unknown", ""]
ENTRIES: Final[dict[Answer, str]] = {"present": "1", "absent": "0", "unknown": "", "": ""}


@dataclass(frozen=True, slots=True)
class ListedFrame:
    """One row of the table: each label's answer ("" where nobody has answered), and what the model said of it."""

    image: str
    group: str
    source: str
    answers: dict[str, Answer]
    probabilities: dict[str, float]
    near: tuple[str, ...]
    distance: float | None


class Tables:
    """Both tables; their rows belong together by image."""

    def __init__(self, folder: Path, entries: CsvFile, scores: CsvFile) -> None:
        self.folder, self.entries, self.scores = folder, entries, scores

    @classmethod
    def read(cls, folder: Path) -> "Tables":
        entries = read_csv(folder / LABELS, (IMAGE, *ABOUT))
        scores = read_csv(folder / SCORES, (IMAGE, *SCORED_BY))
        tables = cls(folder, entries, scores)
        tables._check_entries()
        return tables

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(column for column in self.entries.columns if column not in RESERVED)

    def know(self, labels: Iterable[str]) -> None:
        """Have a column for each label; what is in the table already is unknown for a new one."""
        wanted = list(labels)
        if taken := sorted(RESERVED.intersection(wanted)):
            raise UnreadableLabelTable(f"labels named {', '.join(taken)} cannot stand in a label table: it has others")
        self.entries.add_columns(wanted, before=ABOUT[0])
        self.entries.add_columns(ABOUT)
        self.scores.add_columns(wanted, before=SCORED_BY[0])
        self.scores.add_columns(SCORED_BY)

    def listed(self, image: str) -> ListedFrame:
        row, scores = self.entries.rows[image], self.scores.rows.get(image, {})
        undecided = self._undecided(image)
        return ListedFrame(
            image=image,
            group=row.get("group", ""),
            source=row.get("source", ""),
            answers={label: _answer(row.get(label, ""), label in undecided) for label in self.labels},
            probabilities={label: value for label in self.labels if (value := number(scores.get(label))) is not None},
            near=tuple(label for label in scores.get("near", "").split() if label in self.labels),
            distance=number(scores.get("distance")),
        )

    def is_answered(self, image: str) -> bool:
        """Whether a person has answered any label of the frame, if only that it cannot be told."""
        row, undecided = self.entries.rows[image], self._undecided(image)
        return any(row.get(label) or label in undecided for label in self.labels)

    def refuse_unlisted(self, image: str, label: str) -> None:
        if image not in self.entries.rows:
            raise UnlistedFrame(f"{LABELS} has no row for {image!r} any more; skip it", image=image)
        if label not in self.labels:
            raise UnlistedFrame(f"{LABELS} has no column {label!r}; it has {', '.join(self.labels)}", label=label)

    def answer(self, image: str, label: str, answer: Answer) -> None:
        self.entries.rows[image][label] = ENTRIES[answer]
        undecided = [other for other in self._undecided(image) if other != label]
        undecided += [label] if answer == "unknown" else []
        if undecided != self._undecided(image):
            self.scores.add_columns(SCORED_BY)
            self.scores.rows.setdefault(image, {IMAGE: image})["cannot_tell"] = " ".join(undecided)

    def write(self) -> None:
        """Replace what has changed, scores.csv first: a row without scores harms nobody."""
        for name, table in ((SCORES, self.scores), (LABELS, self.entries)):
            path, content = self.folder / name, table.encoded()
            if not path.is_file() or path.read_bytes() != content:
                replace_file(path, content)

    def _undecided(self, image: str) -> list[str]:
        return self.scores.rows.get(image, {}).get("cannot_tell", "").split()

    def _check_entries(self) -> None:
        for image, row in self.entries.rows.items():
            for label in self.labels:
                if row[label] not in ("", "0", "1"):
                    raise UnreadableLabelTable(
                        f"{self.folder / LABELS}: {label} of {image} is {row[label]!r}; allowed are 0, 1 and empty"
                    )


def number(text: str | None) -> float | None:
    """A cell as a number; None where it is empty or something else."""
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _answer(entry: str, undecided: bool) -> Answer:
    return "present" if entry == "1" else "absent" if entry == "0" else "unknown" if undecided else ""
