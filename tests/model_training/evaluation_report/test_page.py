"""One evaluation of the tiny model on painted frames, as report, as JSON and as a page."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from model_training import data_description
from model_training.evaluation_report.page import figure_rows, save_page
from model_training.evaluation_report.report import PARTS, QUICK_PARTS, Request, contradictions, evaluation_report
from model_training.evaluation_report.served_model import ServedModel
from service.inference.artifact import Artifact, Figure
from tests.model_training.painted_frames import write_painted_frames
from tests.tiny_model import write_tiny_model

VOID = {"meta", "img", "br", "source", "hr", "link", "input"}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = write_painted_frames(tmp_path_factory.mktemp("page") / "data", count=20, test=8)
    (folder / "data.toml").write_text('labels = ["red", "green"]\n[[sources]]\nformat = "table"\npath = "."\n')
    return data_description.load(folder / "data.toml")[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory, table):
    """The mean of red and of green: a weak guess at which squares a frame shows."""
    path = write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx", threshold=0.4)
    return ServedModel.about(Artifact.read(path), table, 1)


def request_of(table, parts=PARTS, run=True, **more):
    rows = [row for row, split in enumerate(table.splits) if split == "train"]
    held_out = {"validation": np.array(rows[:8]), "calibration": np.array(rows[8:16])} if run else {}
    return Request({"test": ("gallery",)}, held_out, parts, **more)


@pytest.fixture(scope="module")
def report(model, table):
    yardstick = ("detector", np.where(table.entries_NL == 1, 0.9, 0.2).astype(np.float32))
    return evaluation_report(model, table, request_of(table, yardstick=yardstick))


@pytest.fixture(scope="module")
def page(report, model, tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "page.html"
    save_page(report, model, path)
    return path.read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Open elements must be closed in their order; collects addresses and ids."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.anchors, self.texts = [], [], [], []

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.addresses += [named[key] for key in ("src", "srcset", "href") if key in named and tag != "use"]
        self.anchors += [named["id"]] if tag in ("h2", "section") and "id" in named else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_page_is_whole_and_needs_nothing_from_elsewhere(page):
    elements = Elements()
    elements.feed(page)
    assert elements.open == []
    assert "<script" not in page
    assert not re.search(r"url\((?!#)|@import", page)
    outside = [address for address in elements.addresses if not address.startswith(("data:", "#"))]
    assert outside == []
    linked = {address[1:] for address in elements.addresses if address.startswith("#")}
    assert linked <= set(elements.anchors)


def test_plots_take_their_ink_from_the_page(page):
    """So that they can be read on dark and on light."""
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(plots) == 3
    assert all("currentColor" in plot and "#010203" not in plot and "#000000" not in plot for plot in plots)


def test_page_shows_the_figures_of_the_json(report, page):
    told = json.loads(report.to_json())
    assert {figure["test_set"] for figure in told["figures"]} == {"test"}
    assert {figure["test_set"] for figure in told["held_out_figures"]} == {"validation", "calibration"}
    assert {figure["test_set"] for figure in told["source_figures"]} == {"painter_0, held out", "painter_1, held out"}
    for figure in (*told["figures"], *told["source_figures"], *told["held_out_figures"]):
        value, low, high = (f"{figure[name]:.3f}" for name in ("value", "low", "high"))
        assert f'{value}<span class="small">{low} to {high}</span>' in page
    for row in told["yardstick"]:
        assert f"{row['difference']:+.3f}<span" in page
    for row in told["robustness"]:
        assert f'{row["value"]:.3f}<span class="small">{row["low"]:.3f} to {row["high"]:.3f}</span>' in page
    for row in told["pointing"]:
        assert f"{row['strict']:.3f}<span" in page
    assert {row["label"] for row in told["sizes"]} == {row["label"] for row in told["pointing"]}
    assert "Of the rows that the run held out that show a label" in page
    for row in told["sizes"]:
        assert f"<td>{row['n']}</td><td>{row['found']}</td>" in page
    for mistake in told["mistakes"]:
        assert f"<b>{mistake['probability']:.3f}, the table says {mistake['said']}" in page


def test_sources_of_a_test_set_stand_by_themselves_too(model, table):
    """One that is a test set by itself has its figures there; the rows of a run count as one."""
    both = Request({"both": ("gallery", "another")}, {}, ())
    found = evaluation_report(model, table, both)
    told = [(one.label, one.metric, one.value) for one in found.source_figures]
    assert {one.test_set for one in found.source_figures} == {"gallery"}
    assert told == [(one.label, one.metric, one.value) for one in found.figures]
    assert evaluation_report(model, table, request_of(table, (), run=False)).source_figures == ()


def test_decisions_at_the_threshold_are_those_that_the_page_shows(report, table, page):
    """Counted by hand over the test rows; the tiny model's threshold is 0.4."""
    rows = [row for row, split in enumerate(table.splits) if split == "test"]
    for j, label in enumerate(table.labels):
        pairs = [
            (int(table.entries_NL[row, j]), bool(report.tested.probabilities_NL[at, j] >= 0.4))
            for at, row in enumerate(rows)
        ]
        found, missed, false, left = (pairs.count(pair) for pair in ((1, True), (1, False), (0, True), (0, False)))
        assert f"<td>{found}</td><td>{missed}</td><td>{false}</td><td>{left}</td>" in page, label


def test_perfect_yardstick_is_never_behind(report):
    assert [one.yardstick for one in report.yardstick.comparisons] == [1.0, 1.0, 1.0]
    assert all(one.difference <= 0 for one in report.yardstick.comparisons)


def test_each_corruption_has_each_severity_for_each_label(report):
    assert len(report.robustness) == 8 * 6 * 2
    untouched = {(one.label, one.value) for one in report.robustness if one.severity == 0}
    assert untouched == {(f.label, f.value) for f in report.figures if f.metric == "average_precision"} - {
        ("mean", next(f.value for f in report.figures if f.label == "mean"))
    }


def test_without_a_run_only_test_rows_are_looked_at(model, table):
    found = evaluation_report(model, table, request_of(table, parts=("pointing", "label-errors"), run=False))
    assert found.held_out_figures == ()
    assert found.pointing_rows == "test rows"
    assert found.out_of_sample_rows == "test"
    assert set(found.out_of_sample.table.splits) == set(found.pointed_at.splits) == {"test"}


def test_run_points_at_its_validation_rows_and_never_at_its_train_rows(report, table):
    assert report.pointed_at.images == table.images[:8]
    held_out = {*table.images[:16], *(i for i, s in zip(table.images, table.splits, strict=True) if s == "test")}
    assert set(report.out_of_sample.table.images) == held_out


def test_parts_that_were_not_asked_for_are_named(model, table, tmp_path):
    found = evaluation_report(model, table, request_of(table, parts=(), run=False))
    save_page(found, model, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert f"Not measured here: {', '.join(PARTS)}." in text
    told = json.loads(found.to_json())
    assert [told[name] for name in ("mistakes", "suspects", "pointing", "speeds", "robustness")] == [None] * 5
    assert PARTS[:4] == QUICK_PARTS


def figure(value, n=10, metric="average_precision", test_set="test"):
    return Figure(test_set=test_set, label="red", metric=metric, value=value, low=0, high=1, n=n, positives=4)


def test_figures_that_the_file_states_otherwise_are_named():
    """A difference of more than 0.005, or other entries; what was not measured again is passed over."""
    stated = [figure(0.9), figure(0.9, metric="brier_score"), figure(0.9, n=12, metric="f1"), figure(0.1, test_set="x")]
    now = [figure(0.904), figure(0.8, metric="brier_score"), figure(0.9, metric="f1")]
    said = contradictions(now, stated)
    assert said == [
        "test, red, brier_score: the file says 0.9 (n 10), measured now 0.8 (n 10)",
        "test, red, f1: the file says 0.9 (n 12), measured now 0.9 (n 10)",
    ]


def test_one_row_holds_all_metrics_of_a_label_in_a_set():
    rows = figure_rows([figure(0.9), figure(0.1, metric="brier_score"), figure(0.5, test_set="other")])
    assert [(row.test_set, sorted(row.by_metric)) for row in rows] == [
        ("test", ["average_precision", "brier_score"]),
        ("other", ["average_precision"]),
    ]
