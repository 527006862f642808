"""The label table: what is known about which label in which frame.

# N = frames (m in the literature), L = labels
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_training.errors import InvalidConfiguration
from model_training.sources.annotated_frame import AnnotatedFrame, Box
from model_training.sources.problems import Kind, Problems
from service.inference.artifact import LABEL_KEY

UNKNOWN, ABSENT, PRESENT = -1, 0, 1

Identity = Literal["content", "path"]


@dataclass(frozen=True, slots=True)
class Conflict:
    """An entry that sources contradict each other on; it is unknown in the table."""

    image: Path
    label: str
    present: tuple[str, ...]
    absent: tuple[str, ...]

    def __str__(self) -> str:
        says_present, says_absent = ", ".join(self.present), ", ".join(self.absent)
        return f"{self.image}: {self.label} is present in {says_present} and absent in {says_absent}"


@dataclass(frozen=True, eq=False)
class LabelTable:
    """Each frame's target vector y over L labels: 1 present, 0 absent, -1 unknown.

    Stacked in the literature's layout, Y has one column a frame: (L, m). We keep its transpose, `entries_NL`, with one
    row a frame: (m, L), as batches are indexed by frame.

    All other fields have one element per frame, N of them. `boxes` holds, per frame, the labels that are present and
    whose boxes are complete; where a label is absent it has no box, so no key either. `splits` is "train", "test",
    "fit" (to learn from only) or "" where no source says. A frame that several sources know has their names and
    licences joined by "+" and " AND ".
    """

    labels: tuple[str, ...]
    entries_NL: NDArray[np.int8]
    images: tuple[Path, ...]
    boxes: tuple[Mapping[str, tuple[Box, ...]], ...]
    sources: tuple[str, ...]
    groups: tuple[str, ...]
    splits: tuple[str, ...]
    licences: tuple[str, ...]
    conflicts: tuple[Conflict, ...] = ()

    def __post_init__(self) -> None:
        shape = (len(self.images), len(self.labels))
        if self.entries_NL.shape != shape or self.entries_NL.dtype != np.int8:
            raise ValueError(f"entries_NL is {self.entries_NL.dtype} {self.entries_NL.shape}; it must be int8 {shape}")
        columns = (self.boxes, self.sources, self.groups, self.splits, self.licences)
        if any(len(column) != len(self.images) for column in columns):
            raise ValueError(f"every column must have {len(self.images)} elements, one per image")
        self.entries_NL.setflags(write=False)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def known_NL(self) -> NDArray[np.bool_]:
        """Which entries are known."""
        return np.not_equal(self.entries_NL, UNKNOWN)

    def rows(self, indices: ArrayLike) -> "LabelTable":
        """The table of some rows, given by position or by a boolean mask, with the same labels."""
        chosen = np.asarray(indices)
        chosen = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen.astype(np.intp)
        images = tuple(self.images[i] for i in chosen)
        kept = set(images)
        return LabelTable(
            labels=self.labels,
            entries_NL=self.entries_NL[chosen],
            images=images,
            boxes=tuple(self.boxes[i] for i in chosen),
            sources=tuple(self.sources[i] for i in chosen),
            groups=tuple(self.groups[i] for i in chosen),
            splits=tuple(self.splits[i] for i in chosen),
            licences=tuple(self.licences[i] for i in chosen),
            conflicts=tuple(conflict for conflict in self.conflicts if conflict.image in kept),
        )

    def content_hash(self, with_boxes: bool = False) -> str:
        """SHA-256 over labels, entries and the image files' bytes, whatever the order of rows and labels.

        A model file states it. `with_boxes` it also tells where things are: what one network learned from.
        """
        order = sorted(range(len(self.labels)), key=self.labels.__getitem__)
        places = [_as_text(boxes) if with_boxes else [] for boxes in self.boxes]
        rows = sorted(
            ":".join([_file_hash(image), ",".join(map(str, entries_L[order])), *where])
            for image, entries_L, where in zip(self.images, self.entries_NL, places, strict=True)
        )
        header = ",".join(self.labels[j] for j in order)
        return hashlib.sha256("\n".join([header, *rows]).encode()).hexdigest()


def label_table(
    frames: Iterable[AnnotatedFrame],
    labels: Sequence[str],
    identity: Identity = "content",
    problems: Problems | None = None,
) -> LabelTable:
    """One row per frame, merging what several sources know about the same frame.

    Two files are the same frame when their bytes agree (`identity="content"`) or when their resolved paths do
    (`"path"`, for data too large to read through). Known beats unknown; entries that contradict each other become
    unknown and are kept in `conflicts`. Of several complete sets of boxes the larger stays. Scenes that share a frame
    become one group. Where a frame or its group is in train and in test, test wins.

    What was chosen for being hard ("fit") joins no scenes of others: often its group is but the folder that it was
    found in. Such a group belongs to the one scene that it shares frames with. Where it shares frames with several,
    those of its frames that nobody else has are left out, as nobody knows on which side of a split they may be.

    Rows come in the order in which their frames were first met. What was merged, moved and left out is noted in
    `problems`. Raises InvalidConfiguration for labels that are not distinct snake_case keys.
    """
    keys = _checked_labels(labels)
    problems = problems or Problems()
    merged = [_Merged(group, keys) for group in _same_frames(list(frames), identity)]
    merged, scenes = _in_scenes(merged, problems)
    splits = _splits_by_scene(merged, scenes, problems)
    for row in merged:
        row.note_merge(problems)
    return LabelTable(
        labels=keys,
        entries_NL=np.array([row.entries_L for row in merged], np.int8).reshape(len(merged), len(keys)),
        images=tuple(row.image for row in merged),
        boxes=tuple(row.boxes() for row in merged),
        sources=tuple("+".join(row.sources) for row in merged),
        groups=tuple(scenes[row.groups[0]] for row in merged),
        splits=splits,
        licences=tuple(" AND ".join(row.licences) for row in merged),
        conflicts=tuple(conflict for row in merged for conflict in row.conflicts()),
    )


def _checked_labels(labels: Sequence[str]) -> tuple[str, ...]:
    bad = [label for label in labels if not re.fullmatch(LABEL_KEY, label)]
    if bad or not labels or len(set(labels)) != len(labels):
        came = ", ".join(repr(label) for label in labels) or "none"
        raise InvalidConfiguration(f"labels are {came}; they must be one or more distinct snake_case keys")
    return tuple(labels)


class _Merged:
    """All that the sources know about one frame."""

    def __init__(self, frames: Sequence[AnnotatedFrame], labels: tuple[str, ...]) -> None:
        self.frames, self.labels = frames, labels
        self.image = frames[0].image
        self.sources = tuple(dict.fromkeys(frame.source for frame in frames))
        self.licences = tuple(dict.fromkeys(frame.licence for frame in frames))
        drawn = [frame for frame in frames if frame.split != "fit"]
        self.is_drawn = bool(drawn)
        self.groups = tuple(dict.fromkeys(frame.group for frame in drawn or frames))
        self.groups_to_fit = tuple(dict.fromkeys(frame.group for frame in frames if frame.split == "fit"))
        self.split = _split_of({frame.split for frame in frames})
        self.entries_L = [_entry({frame.entries.get(label) for frame in frames}) for label in labels]

    def boxes(self) -> Mapping[str, tuple[Box, ...]]:
        present = [label for label, entry in zip(self.labels, self.entries_L, strict=True) if entry == PRESENT]
        complete = {label: [frame.boxes[label] for frame in self.frames if label in frame.boxes] for label in present}
        # Each set claims to be complete: the one with more boxes has missed less.
        return {label: max(sets, key=len) for label, sets in complete.items() if sets}

    def conflicts(self) -> list[Conflict]:
        said = [
            (label, self._sources_saying(label, PRESENT), self._sources_saying(label, ABSENT)) for label in self.labels
        ]
        return [Conflict(self.image, label, present, absent) for label, present, absent in said if present and absent]

    def _sources_saying(self, label: str, entry: int) -> tuple[str, ...]:
        return tuple(dict.fromkeys(frame.source for frame in self.frames if frame.entries.get(label) == entry))

    def note_merge(self, problems: Problems) -> None:
        for other in self.frames[1:]:
            problems.note(Kind.SAME_FRAME, other.image, None, f"the same frame as {self.image}; merged")


def _entry(said: set[int | None]) -> int:
    known = said - {None, UNKNOWN}
    return PRESENT if known == {PRESENT} else ABSENT if known == {ABSENT} else UNKNOWN


def _split_of(said: set[str | None]) -> str:
    if said == {"fit"}:
        # Another source that has the frame did not choose it for being hard.
        return "fit"
    return "test" if "test" in said else "train" if "train" in said else ""


def _same_frames(frames: list[AnnotatedFrame], identity: Identity) -> list[list[AnnotatedFrame]]:
    """The frames by identity, in the order first met."""
    if identity == "path":
        return _grouped(frames, [str(frame.image.resolve()) for frame in frames])
    sizes = [frame.image.stat().st_size for frame in frames]
    count = Counter(sizes)
    # Only files of one size can hold the same bytes, so most files need no reading.
    return _grouped(
        frames,
        [_file_hash(frame.image) if count[size] > 1 else str(size) for frame, size in zip(frames, sizes, strict=True)],
    )


def _grouped(frames: list[AnnotatedFrame], keys: list[str]) -> list[list[AnnotatedFrame]]:
    by_key: dict[str, list[AnnotatedFrame]] = defaultdict(list)
    for frame, key in zip(frames, keys, strict=True):
        by_key[key].append(frame)
    return list(by_key.values())


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _as_text(boxes: Mapping[str, tuple[Box, ...]]) -> list[str]:
    """A text for each label; to a millionth of the frame, since readers reckon corners in different ways."""
    corners = {label: sorted(" ".join(f"{edge:.6f}" for edge in box) for box in boxes[label]) for label in boxes}
    return [",".join([label, *corners[label]]) for label in sorted(boxes)]


def _in_scenes(rows: Sequence[_Merged], problems: Problems) -> tuple[list[_Merged], Mapping[str, str]]:
    """The rows whose scene is certain, and the scene of each group."""
    drawn = [row for row in rows if row.is_drawn]
    scenes = _joined_groups(row.groups for row in drawn)
    folders = _joined_groups(row.groups for row in rows if not row.is_drawn)
    met: dict[str, set[str]] = defaultdict(set)
    for row in drawn:
        for group in (*row.groups, *row.groups_to_fit):
            met[folders.get(group, group)].add(scenes[row.groups[0]])
    kept = []
    for row in rows:
        among = sorted(met.get(folders[row.groups[0]], ())) if not row.is_drawn else []
        if len(among) < 2:
            kept.append(row)
        else:
            said = f"group {', '.join(row.groups)} shares frames with scenes {', '.join(among)}; name the one it is of"
            problems.note(Kind.AMBIGUOUS_SCENE, row.image, None, said)
    belongs = [(group, *scenes) for group, scenes in met.items() if len(scenes) == 1]
    return kept, _joined_groups([*(row.groups for row in kept), *belongs])


def _joined_groups(groups_of_rows: Iterable[tuple[str, ...]]) -> dict[str, str]:
    """Each group's scene: groups that share a frame are one scene, named after the first of them in the alphabet."""
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        while parent.setdefault(group, group) != group:
            group = parent[group]
        return group

    for groups in groups_of_rows:
        roots = sorted({root(group) for group in groups})
        parent.update(dict.fromkeys(roots, roots[0]))
    return {group: root(group) for group in parent}


def _splits_by_scene(rows: Sequence[_Merged], scenes: Mapping[str, str], problems: Problems) -> tuple[str, ...]:
    tested = {scenes[row.groups[0]] for row in rows if row.split == "test"}
    for row in rows:
        if scenes[row.groups[0]] in tested and any(frame.split != "test" for frame in row.frames):
            problems.note(Kind.LEAKAGE, row.image, None, f"scene {scenes[row.groups[0]]} is also in test; test wins")
    # What was chosen for being hard measures nothing either: it is used nowhere then.
    return tuple("test" if scenes[row.groups[0]] in tested and row.split != "fit" else row.split for row in rows)
