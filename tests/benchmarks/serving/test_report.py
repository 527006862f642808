"""The report shows what was seen, what was asked, and what failed."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

from benchmarks.marked_section import section_of
from benchmarks.serving.closed_loop import Load
from benchmarks.serving.contenders import BENTOML, LIMIT, OURS
from benchmarks.serving.figures import Figure
from benchmarks.serving.overload import SHARES, Memory, OpenLoop, PhaseFigures, Turn
from benchmarks.serving.plan import FULL, Cell
from benchmarks.serving.plot import write_plot
from benchmarks.serving.profile import ThreadCpu
from benchmarks.serving.provenance import Run
from benchmarks.serving.report import SECTION, Results, page, read_json, write_json
from benchmarks.serving.rounds import Measurement, Record, Start

RUN = Run(
    "python -m benchmarks.serving", "2026-01-02", 51.4, "A CPU", 2, 23.5, 0.1, "m 1", "streetframes", {"x": "1.2"}
)


CLOSE = Figure("three", "at least 1", "1.1", True, within_noise=True)


def results() -> Results:
    """Ours at 90 of 100 frames a second, with three refusals; nobody else."""
    cell = Cell("1280x720", "raw", 64)
    ours, limit = (Load(1.0, rate, 3 * (rate == 90), 0, 7.0, 8.0, 9.0, 1.0, 0.05) for rate in (90, 100))
    record = Record(
        [Start(OURS, "raw", 1.25, 0.0)],
        [Measurement(OURS, cell, 0, ours, 200 * 2**20), Measurement(LIMIT, cell, 0, limit, 0)],
        ["peer, raw: it ended\n\x1b[36mwith two lines\x1b[0m"],
    )
    phases = [PhaseFigures(share, 90 * share, 10, 8, 80.0, 1, 0, 1, 0, 0, 11.0, 22.0, 4.5, 0.5) for share in SHARES]
    loops = [OpenLoop(OURS, 90.0, phases, 0.25, [Memory(1.0, 300 * 2**20)], 1.5, [Turn(100.0, 90.0, 110.0)])]
    figures = [Figure("one", "at least 1", "0.9", False), Figure("two", "0", "0", True), CLOSE]
    profile, cpu = [("run (session.py)", 0.75)], ThreadCpu({"event loop": 1.25, "frame workers": 9.5}, 10.125)
    return Results(RUN, FULL, (LIMIT, OURS, "peer"), ("peer",), record, loops, figures, profile, cpu)


def section(text: str, title: str) -> str:
    """What stands under a title."""
    return text.partition(f"### {title}\n\n")[2].partition("\n\n### ")[0]


def test_page_tells_figures_tables_profile_and_failures() -> None:
    text = page(results(), "results.svg")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert "| one | at least 1 | 0.9 | **no** |" in rows
    assert "| two | 0 | 0 | yes |" in rows
    assert "| three | at least 1 | 1.1 | yes, within its interval |" in rows
    assert "| 1280x720 raw | 64 | 100.0 | 90.0 (3 x 429) |" in rows
    assert "1280x720 raw with 1 or 16 or 64 clients over 7 rounds of 5 s, the rest over 1 of 4 s." in text
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


def test_what_was_not_reached_is_told_with_what_it_took() -> None:
    """A frame takes ours a second over 90, the limit one over 100; the client 50 ms over 90."""
    told = section(page(results(), "results.svg"), "What was not reached")
    assert told.splitlines()[0] == "- one: asked for at least 1, seen 0.9"
    assert "| CPU ms a frame | in-process limit | roadcue | the client of roadcue |" in told
    assert "| 16 clients | - | - | - |\n| 64 clients | 10.00 | 11.11 | 0.56 |" in told
    assert "two:" not in told
    assert told.endswith("[below](#where-the-services-time-goes-16-clients).")


def test_no_link_leads_to_a_profile_that_was_not_taken() -> None:
    without = page(replace(results(), thread_cpu=None, profile=[]), "results.svg")
    assert "where-the-services-time-goes" not in without


def test_all_that_is_reached_is_told_so() -> None:
    reached = replace(results(), figures=[Figure("one", "at least 1", "1.1", True)])
    assert section(page(reached, "results.svg"), "What was not reached") == "All that is asked was reached."
    assert "What was not reached" not in page(replace(results(), figures=[]), "results.svg")


def test_cpu_of_threads_stands_beside_that_of_the_loop() -> None:
    told = section(page(results(), "results.svg"), "Where the service's time goes, 16 clients")
    head = "| CPU ms a frame, 16 clients | event loop | frame workers | together | in-process loop right before |"
    assert told.splitlines()[0] == head
    assert told.splitlines()[2] == "| roadcue | 1.25 | 9.50 | 10.75 | 10.12 |"
    without = page(replace(results(), thread_cpu=None), "results.svg")
    assert section(without, "Where the service's time goes, 16 clients").startswith("Innermost functions")


def bentoml(*rates: int) -> Results:
    """So many frames a second in each round with 16 clients."""
    loads = [Load(1.0, rate, 0, 0, 7.0, 8.0, 9.0, 1.0, 0.05) for rate in rates]
    seen = [Measurement(BENTOML, Cell("1280x720", "raw", 16), turn, load, 0) for turn, load in enumerate(loads)]
    return replace(results(), names=(BENTOML,), record=Record(measurements=seen))


def test_modes_of_bentoml_are_told_where_it_has_them() -> None:
    told = page(bentoml(48, 90, 50, 84, 47), "results.svg")
    assert "from round to round: 48.0 (3 rounds) or 87.0 (2 rounds) frames/s, 90.0 at best" in told
    assert "two modes" not in page(bentoml(88, 90), "results.svg")


def test_median_latency_of_refusals_is_left_out() -> None:
    """Of the same cell, refused once more often than answered, and once as often."""
    for refused, latency in ((91, "-"), (90, "7.0 (90 x 429)")):
        found = results()
        ours = replace(found.record.measurements[0], load=Load(1.0, 90, refused, 0, 7.0, 8.0, 9.0, 1.0, 0.05))
        text = page(replace(found, record=replace(found.record, measurements=[ours])), "results.svg")
        assert f"| 1280x720 raw | 64 | 90.0 ({refused} x 429) |" in text
        assert f"| 1280x720 raw | 64 | {latency} |" in text


def test_every_table_is_as_wide_as_its_head() -> None:
    for table in page(results(), "results.svg").split("\n\n"):
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1


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
    assert page(published, "results.svg") == section_of(text, SECTION)


def test_plot_is_a_picture_with_every_contender(tmp_path: Path) -> None:
    write_plot(results(), tmp_path / "results.svg")
    assert ET.parse(tmp_path / "results.svg").getroot().tag.endswith("svg")
    first = (tmp_path / "results.svg").read_bytes()
    write_plot(results(), tmp_path / "results.svg")
    assert (tmp_path / "results.svg").read_bytes() == first
