"""The report shows what was seen, what was asked, and what failed."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

from benchmarks.serving.closed_loop import Load
from benchmarks.serving.contenders import LIMIT, OURS
from benchmarks.serving.figures import Figure
from benchmarks.serving.overload import SHARES, Memory, OpenLoop, PhaseFigures, Turn
from benchmarks.serving.plan import FULL, Cell
from benchmarks.serving.plot import write_plot
from benchmarks.serving.provenance import Run
from benchmarks.serving.report import BEGIN, END, Results, page, read_json, write_between_markers, write_json
from benchmarks.serving.rounds import Measurement, Record, Start

RUN = Run(
    "python -m benchmarks.serving", "2026-01-02", 51.4, "A CPU", 2, 23.5, 0.1, "m 1", "streetframes", {"x": "1.2"}
)


def results() -> Results:
    """Ours at 90 of 100 frames a second, with three refusals; nobody else."""
    cell = Cell("1280x720", "raw", 64)
    ours, limit = (Load(1.0, rate, 3 * (rate == 90), 0, 7.0, 8.0, 9.0, 1.0, 0.05) for rate in (90, 100))
    record = Record(
        [Start(OURS, "raw", 1.25, 0.0)],
        [Measurement(OURS, cell, 0, ours, 200 * 2**20), Measurement(LIMIT, cell, 0, limit, 0)],
        ["peer, raw: it ended\nwith two lines"],
    )
    phases = [PhaseFigures(share, 90 * share, 10, 8, 80.0, 1, 0, 1, 0, 0, 11.0, 22.0, 4.5, 0.5) for share in SHARES]
    loops = [OpenLoop(OURS, 90.0, phases, 0.25, [Memory(1.0, 300 * 2**20)], 1.5, [Turn(100.0, 90.0, 110.0)])]
    figures = [Figure("one", "at least 1", "0.9", False), Figure("two", "0", "0", True)]
    return Results(RUN, FULL, (LIMIT, OURS, "peer"), ("peer",), record, loops, figures, [("run (session.py)", 0.75)])


def test_page_tells_figures_tables_profile_and_failures() -> None:
    text = page(results(), "results.svg")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert "| one | at least 1 | 0.9 | **no** |" in rows
    assert "| two | 0 | 0 | yes |" in rows
    assert "| 1280x720 raw | 64 | 100.0 | 90.0 (3 x 429) |" in rows
    assert (
        "| roadcue | - | 90.0 | - | 0.900 (0.900 to 0.900) | 11.11 | 1.111 (1.111 to 1.111) | - | 0.56 | 200 | 1.2 |"
        in rows
    )
    assert "| roadcue | 90.0 | 50 %: 45/s | 80.0 | 11.0 | 22.0 | 1 | 1 | 0 | 0 | 4.5 | 0.5 |  |  |  |" in rows
    assert "|  |  | 300 %: 270/s | 80.0 | 11.0 | 22.0 | 1 | 1 | 0 | 0 | 4.5 | 0.5 | 0.25 | 300 | 1.5 |" in rows
    assert "| roadcue | 100.0 | 90.0 | 110.0 | 0.857 |" in rows  # 90 of 105
    assert "     75.0 %  run (session.py)" in text
    assert "- peer, raw: it ended\n      with two lines" in text
    assert "2026-01-02, 51 minutes, 2 cores of A CPU" in text


def test_every_table_is_as_wide_as_its_head() -> None:
    for table in page(results(), "results.svg").split("\n\n"):
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1


def test_only_what_stands_between_the_markers_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    path.write_text(f"before\n{BEGIN}\nold \\1\n{END}\nafter\n")
    write_between_markers(path, "new \\g<0>")
    assert path.read_text() == f"before\n{BEGIN}\nnew \\g<0>\n{END}\nafter\n"
    fresh = tmp_path / "fresh.md"
    write_between_markers(fresh, "new")
    write_between_markers(fresh, "newer")
    assert fresh.read_text() == f"# Results\n\n{BEGIN}\nnewer\n{END}\n"


def test_json_holds_each_measurement(tmp_path: Path) -> None:
    write_json(results(), tmp_path / "results.json")
    found = json.loads((tmp_path / "results.json").read_text())
    assert [one["load"]["answered"] for one in found["record"]["measurements"]] == [90, 100]
    assert found["run"]["cpu"] == "A CPU"


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    write_json(results(), tmp_path / "results.json")
    assert read_json(tmp_path / "results.json") == results()


def test_the_published_page_is_that_of_the_published_run(repository: Path) -> None:
    """Nobody has mended a figure by hand."""
    published = read_json(repository / "benchmarks" / "results.json")
    text = (repository / "benchmarks" / "RESULTS.md").read_text()
    assert page(published, "results.svg") == text.partition(f"{BEGIN}\n")[2].partition(f"\n{END}")[0]


def test_plot_is_a_picture_with_every_contender(tmp_path: Path) -> None:
    write_plot(results(), tmp_path / "results.svg")
    assert ET.parse(tmp_path / "results.svg").getroot().tag.endswith("svg")
    first = (tmp_path / "results.svg").read_bytes()
    write_plot(results(), tmp_path / "results.svg")
    assert (tmp_path / "results.svg").read_bytes() == first
