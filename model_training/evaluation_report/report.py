"""All that is measured of one model file on held-out rows of the table.

# N = frames, L = labels
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model_training.evaluation import Judged, figures, judged, rows_from, set_figures
from model_training.evaluation_report.label_errors import Suspect, suspects
from model_training.evaluation_report.mistakes import Mistake, worst_mistakes
from model_training.evaluation_report.object_sizes import SizeRecall, recall_by_size
from model_training.evaluation_report.pointing import Aim, Pointing, aims, pointing_game
from model_training.evaluation_report.reliability import Reliability, disagreements, reliability
from model_training.evaluation_report.robustness import Robustness, robustness
from model_training.evaluation_report.served_model import ServedModel
from model_training.evaluation_report.variant_speed import VariantSpeed, variant_speeds
from model_training.evaluation_report.yardstick import Comparison, comparisons
from model_training.label_table import LabelTable
from model_training.metrics import Confusion, Floats, confusion
from model_training.tracking import Tracking, untracked
from service.inference.artifact import Figure, ModelMetadata

PARTS: Final = ("mistakes", "label-errors", "pointing", "speed", "robustness")
QUICK_PARTS: Final = PARTS[:-1]
"""Robustness asks for every frame 41 times; all others together hardly more than once."""
SAME_FIGURE: Final = 0.005
"""Two frames of nearly equal score may change places on another processor."""
MISTAKES_OF_A_KIND: Final = 6


@dataclass(frozen=True, eq=False, slots=True)
class Scored:
    """Rows of the table and the probabilities [N, L] that the file gives for them."""

    table: LabelTable
    probabilities_NL: Floats


@dataclass(frozen=True, slots=True)
class LabelConfusion:
    """Decisions at the file's own threshold."""

    test_set: str
    label: str
    threshold: float
    counts: Confusion


@dataclass(frozen=True, slots=True)
class Yardstick:
    """Another model's name, the scores that it was read from, and how ours compares."""

    name: str
    comparisons: tuple[Comparison, ...]
    judged: tuple[Judged, ...]


@dataclass(frozen=True, eq=False, slots=True)
class EvaluationReport:
    """What the page shows. A part that was not asked for, or that there are no rows for, is None.

    `confirmed` counts the figures that the file states too, and that come out again unless `contradictions` says other.
    `source_figures` are those of sources that are no test set by themselves, and of what the run held out of each;
    `held_out_figures` those of the run's validation and calibration rows, which are no test: training was stopped by
    one and calibrated on the other.
    Rows of `mistakes` are numbers into `tested`, of `aims` into `pointed_at`, of `suspects` into `out_of_sample`.
    """

    metadata: ModelMetadata
    test_sets: Mapping[str, tuple[str, ...]]
    tested: Scored
    figures: tuple[Figure, ...]
    source_figures: tuple[Figure, ...]
    held_out_figures: tuple[Figure, ...]
    judged: tuple[Judged, ...]
    reliabilities: tuple[Reliability, ...]
    disagreements: tuple[str, ...]
    contradictions: tuple[str, ...]
    confirmed: int
    confusions: tuple[LabelConfusion, ...]
    sizes: tuple[SizeRecall, ...]
    sizes_rows: str
    yardstick: Yardstick | None
    mistakes: tuple[Mistake, ...] | None
    out_of_sample: Scored
    out_of_sample_rows: str
    suspects: tuple[Suspect, ...] | None
    pointed_at: LabelTable
    pointing_rows: str
    aims: tuple[Aim, ...]
    pointing: tuple[Pointing, ...] | None
    speeds: tuple[VariantSpeed, ...] | None
    robustness: tuple[Robustness, ...] | None

    def to_json(self) -> str:
        """All figures as a JSON object; frames go by the names of their files."""
        return json.dumps(dict(self._parts()), indent=2)

    def _parts(self) -> Iterator[tuple[str, Any]]:
        for name in ("figures", "source_figures", "held_out_figures"):
            yield name, [figure.model_dump() for figure in getattr(self, name)]
        yield "disagreements", self.disagreements
        yield "contradictions", self.contradictions
        yield "confusions", _plain(self.confusions)
        yield "sizes", _plain(self.sizes)
        yield "reliability", _plain(self.reliabilities)
        yield "yardstick", self.yardstick and _plain(self.yardstick.comparisons)
        for name in ("pointing", "speeds", "robustness"):
            yield name, _plain(getattr(self, name))
        yield "mistakes", _named(self.mistakes, self.tested.table)
        yield "suspects", _named(self.suspects, self.out_of_sample.table)


def _plain(found: Iterable[Any] | None) -> list[dict[str, Any]] | None:
    return None if found is None else [asdict(one) for one in found]


def _named(found: Iterable[Mistake | Suspect] | None, table: LabelTable) -> list[dict[str, Any]] | None:
    if found is None:
        return None
    return [{"image": str(table.images[one.row]), "said": one.said, **asdict(one)} for one in found]


@dataclass(frozen=True, eq=False, slots=True)
class Request:
    """What to measure: test sets by name, row numbers that a run held out, parts, and another model's scores [N, L]."""

    test_sets: Mapping[str, tuple[str, ...]]
    held_out: Mapping[str, NDArray[np.intp]]
    parts: tuple[str, ...] = QUICK_PARTS
    yardstick: tuple[str, Floats] | None = None
    seed: int = 0


def evaluation_report(
    model: ServedModel, table: LabelTable, request: Request, tracking: Tracking = untracked
) -> EvaluationReport:
    """Measure `model` on the test rows of `table`, and on the rows that its run held out."""
    test_rows = np.flatnonzero(np.asarray(table.splits) == "test")
    tested = _scored(model, table.rows(test_rows), "test rows", tracking)
    held_out = {
        name: _scored(model, table.rows(rows), f"{name} rows", tracking) for name, rows in request.held_out.items()
    }
    found = figures(tested.table, tested.probabilities_NL, model.thresholds, request.test_sets)
    ours = tuple(judged(tested.table, tested.probabilities_NL, request.test_sets))
    asked = set(request.parts)
    pointed_at = held_out["validation"].table if "validation" in held_out else tested.table
    seen = tuple(aims(model, pointed_at, tracking)) if "pointing" in asked else ()
    out_of_sample = _together([tested, *held_out.values()], table, [test_rows, *request.held_out.values()])
    set_aside = _together([*held_out.values()], table, [*request.held_out.values()]) if held_out else None
    sized = set_aside or tested
    return EvaluationReport(
        metadata=model.metadata,
        test_sets=request.test_sets,
        tested=tested,
        figures=tuple(found),
        source_figures=tuple(_source_figures(model, tested, set_aside, request.test_sets)),
        held_out_figures=tuple(_held_out_figures(model, held_out)),
        judged=ours,
        reliabilities=tuple(reliability(one, request.seed) for one in ours),
        disagreements=tuple(disagreements(found)),
        contradictions=tuple(contradictions(found, model.metadata.figures)),
        confirmed=len({_key(figure) for figure in found} & {_key(figure) for figure in model.metadata.figures}),
        confusions=tuple(_confusion(one, model.thresholds[one.label]) for one in ours),
        sizes=tuple(recall_by_size(sized.table, sized.probabilities_NL, model.thresholds, model.size)),
        sizes_rows="rows that the run held out" if held_out else "test rows",
        yardstick=_yardstick(tested, test_rows, request),
        mistakes=_mistakes(model, tested, ours) if "mistakes" in asked else None,
        out_of_sample=out_of_sample,
        out_of_sample_rows=", ".join(("test", *held_out)),
        suspects=tuple(suspects(out_of_sample.table, out_of_sample.probabilities_NL))
        if "label-errors" in asked
        else None,
        pointed_at=pointed_at,
        pointing_rows="the run's validation rows" if "validation" in held_out else "test rows",
        aims=seen,
        pointing=tuple(pointing_game(seen, pointed_at)) if "pointing" in asked else None,
        speeds=tuple(variant_speeds(model, tested.table.images, tracking)) if "speed" in asked else None,
        robustness=_robustness(model, tested, request, tracking) if "robustness" in asked else None,
    )


def _scored(model: ServedModel, rows: LabelTable, name: str, tracking: Tracking) -> Scored:
    return Scored(rows, model.probabilities(rows.images, name, tracking))


def _together(parts: Sequence[Scored], table: LabelTable, rows: Sequence[NDArray[np.intp]]) -> Scored:
    return Scored(table.rows(np.concatenate(rows)), np.concatenate([part.probabilities_NL for part in parts]))


def _source_figures(
    model: ServedModel, tested: Scored, set_aside: Scored | None, test_sets: Mapping[str, tuple[str, ...]]
) -> Iterator[Figure]:
    alone = {members[0] for members in test_sets.values() if len(members) == 1}
    sources = {source: (source,) for source in _sources(tested.table) if source not in alone}
    yield from figures(tested.table, tested.probabilities_NL, model.thresholds, sources)
    if set_aside:
        sources = {f"{source}, held out": (source,) for source in _sources(set_aside.table)}
        yield from figures(set_aside.table, set_aside.probabilities_NL, model.thresholds, sources)


def _sources(table: LabelTable) -> list[str]:
    return sorted({part for source in table.sources for part in source.split("+")})


def _held_out_figures(model: ServedModel, held_out: Mapping[str, Scored]) -> Iterator[Figure]:
    for name, scored in held_out.items():
        yield from set_figures(scored.table, scored.probabilities_NL, model.thresholds, name)


def contradictions(measured: Sequence[Figure], stated: Sequence[Figure]) -> list[str]:
    """Where a file's own figures for a test set of the same name are not those measured now, one sentence each."""
    now = {_key(figure): figure for figure in measured}
    pairs = [(figure, now.get(_key(figure))) for figure in stated]
    return [
        f"{found.test_set}, {found.label}, {found.metric}: the file says {told.value} (n {told.n}), "
        f"measured now {found.value} (n {found.n})"
        for told, found in pairs
        if found and (abs(told.value - found.value) > SAME_FIGURE or told.n != found.n)
    ]


def _key(figure: Figure) -> tuple[str, str, str]:
    return figure.test_set, figure.label, figure.metric


def _confusion(one: Judged, threshold: float) -> LabelConfusion:
    return LabelConfusion(one.test_set, one.label, threshold, confusion(one.present_N, one.scores_N >= threshold))


def _yardstick(tested: Scored, test_rows: NDArray[np.intp], request: Request) -> Yardstick | None:
    if request.yardstick is None:
        return None
    name, scores_NL = request.yardstick
    theirs_NL = scores_NL[test_rows]
    found = comparisons(tested.table, tested.probabilities_NL, theirs_NL, request.test_sets)
    return Yardstick(name, tuple(found), tuple(judged(tested.table, theirs_NL, request.test_sets)))


def _mistakes(model: ServedModel, tested: Scored, ours: Sequence[Judged]) -> tuple[Mistake, ...]:
    rows = sorted({int(row) for one in ours for row in one.rows_N})
    found = worst_mistakes(tested.table, tested.probabilities_NL, model.thresholds, rows, MISTAKES_OF_A_KIND)
    return tuple(found)


def _robustness(model: ServedModel, tested: Scored, request: Request, tracking: Tracking) -> tuple[Robustness, ...]:
    rows = np.unique(np.concatenate([rows_from(tested.table, members) for members in request.test_sets.values()]))
    return tuple(robustness(model, tested.table.rows(rows), request.test_sets, request.seed, tracking))
