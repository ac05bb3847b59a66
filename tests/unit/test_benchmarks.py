"""The benchmarks' own: percentiles, targets, charts, the page, and the command line of a part. Nothing is measured."""

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.charts import apart, draw, steps_up_to
from benchmarks.findings import Chart, Findings, Table, at_least, at_most, median, number, percentile, ratio
from benchmarks.part import Part
from benchmarks.report import as_text, page, text_of, write
from benchmarks.sink import ITEM_BYTES, Seen, items_of

CHART = Chart("steps", "Steps & more", "executions", "steps/s", {"a < b": [(10, 3.0), (1000, 8.0)], "c": [(100, 0.0)]})
TABLE = Table(("", "steps/s", "note"), (("ours", "1,234", "durable"), ("another one", "5", "-")))
FINDINGS = Findings(
    "Steps",
    "How it was measured.",
    (TABLE,),
    (CHART,),
    (at_least("speed", 50, 60, " %"), at_most("delay", 20, 25, " ms"), at_least("peers", None, 4, " x")),
)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 100)])
def test_a_percentile_is_one_of_the_values(share: float, expected: float) -> None:
    assert percentile(range(100, 0, -1), share) == expected


def test_the_percentile_of_nothing_is_not_a_number() -> None:
    assert math.isnan(percentile([], 0.5))
    assert percentile([7.0], 0.99) == 7.0


def test_a_median_leaves_out_what_is_not_known() -> None:
    assert median([None, 3.0, 1.0, 2.0]) == 2.0
    assert median([None]) is None


def test_a_ratio_to_nothing_is_not_known() -> None:
    assert ratio(6.0, 2.0) == 3.0
    assert ratio(6.0, None) is ratio(None, 2.0) is ratio(6.0, 0.0) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (math.nan, "-"), (0.0, "0"), (1234.56, "1,235"), (12.34, "12.3"), (1.234, "1.23"), (0.0531, "0.053")],
)
def test_numbers_are_written_for_people(value: float | None, text: str) -> None:
    assert number(value) == text


def test_a_target_says_whether_it_was_met() -> None:
    verdicts = [target.verdict for target in FINDINGS.targets]
    assert verdicts == ["**not met**", "met", "not measured"]
    assert [target.wanted for target in FINDINGS.targets] == [">= 60 %", "<= 25 ms", ">= 4 x"]
    assert at_least("exactly", 60, 60).is_met
    assert at_most("exactly", 60, 60).is_met


@pytest.mark.parametrize("most", [0.0, 0.3, 1.0, 7.0, 12_345.0, 1e6])
def test_the_grid_reaches_up_to_the_greatest_cost_in_a_few_round_steps(most: float) -> None:
    ticks = steps_up_to(most)
    assert ticks[0] == 0.0
    assert ticks[-1] >= most * 0.999
    assert 2 <= len(ticks) <= 8


def test_labels_are_moved_apart_and_keep_their_order() -> None:
    assert apart([100.0, 101.0, 40.0], gap=10) == [100.0, 110.0, 40.0]


def test_a_chart_is_well_formed_and_has_all_points_and_names_within_its_frame() -> None:
    drawn = ET.fromstring(draw(CHART))
    name = "{http://www.w3.org/2000/svg}"
    texts = ["".join(text.itertext()) for text in drawn.iter(f"{name}text")]
    assert {"Steps & more", "executions", "steps/s", "a < b", "c", "10", "1,000"} <= set(texts)
    circles = list(drawn.iter(f"{name}circle"))
    assert len(circles) == 3
    assert all(0 < float(circle.attrib["cx"]) < 760 and 0 < float(circle.attrib["cy"]) < 380 for circle in circles)


def test_a_chart_of_one_size_or_of_nothing_can_be_drawn() -> None:
    several: list[dict[str, list[tuple[float, float]]]] = [{"one": [(5.0, 2.0)]}, {"none": []}, {}]
    for lines in several:
        ET.fromstring(draw(Chart("x", "X", "size", "cost", lines)))


def test_a_table_is_text_with_columns_that_line_up() -> None:
    assert text_of(TABLE).splitlines() == [
        "             steps/s  note",
        "ours           1,234  durable",
        "another one        5  -",
    ]


def test_the_page_has_every_table_and_target_and_says_what_was_missed() -> None:
    told = page([FINDINGS], rounds=3, is_quick=False)
    assert "| speed | >= 60 % | 50 % | **not met** |" in told
    assert "Of 3 targets, 1 were not met, 1 not measured." in told
    assert "| ours | 1,234 | durable |" in told
    assert "![Steps & more](images/performance-steps.svg)" in told
    assert "mean nothing.**" not in told
    assert "mean nothing.**" in page([FINDINGS], rounds=1, is_quick=True)


def test_the_report_takes_the_place_of_the_last_one_with_its_charts(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("performance-old.svg", "house.svg"):
        (images / name).write_text("old")
    write(tmp_path / "performance.md", [FINDINGS], 3, is_quick=False)
    assert {path.name for path in images.iterdir()} == {"performance-steps.svg", "house.svg"}
    assert (tmp_path / "performance.md").read_text().startswith("# Performance\n")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of a part that measures nothing."""

    due_at_once: tuple[int, ...] = (1, 2)
    secs: float = 9.0


def _echo(sizes: Sizes, rounds: int) -> Findings:
    return Findings(f"{sizes} {rounds}", "")


def test_a_part_takes_its_sizes_from_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    part = Part("part", _echo, Sizes(), Sizes((1,), 0.1))
    for arguments, sizes, rounds in (
        ([], Sizes(), 1),
        (["--due-at-once", "5", "6", "--rounds", "2"], Sizes((5, 6)), 2),
        (["--quick", "--secs", "3"], Sizes((1,), 3.0), 1),
    ):
        part.command("What it does.", arguments)
        assert capsys.readouterr().out == as_text(Findings(f"{sizes} {rounds}", "")) + "\n"


def test_a_part_that_fails_leaves_the_others_their_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_sizes: Sizes, _rounds: int) -> Findings:
        raise RuntimeError("the disk is full")

    parts = {"one": Part("one", fail, Sizes(), Sizes()), "two": Part("two", _echo, Sizes(), Sizes())}
    monkeypatch.setattr(command, "PARTS", parts)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert command.main(["--report", str(tmp_path / "page.md")]) == 1
    told = (tmp_path / "page.md").read_text()
    assert "**Not measured**: RuntimeError the disk is full" in told
    assert "## Sizes" in told
    assert "== Sizes" in capsys.readouterr().out
    assert command.main(["--only", "two"]) == 0


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["--only", "stepz"])


def test_the_app_keeps_gaps_repeats_and_how_late_a_worker_came(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 100.5, 103.0, 103.0, 103.25, 104.0])
    monkeypatch.setattr("benchmarks.sink.time.time", lambda: next(clock))
    seen, lane = Seen(), ("exec", 3)
    seen.take(lane, 0)
    seen.answered(lane, 2.0, is_done=False)
    seen.take(lane, 1)
    seen.answered(lane, 0.0, is_done=False)
    seen.take(lane, 1)
    told = seen.told()
    assert (told["calls"], told["done"], told["repeated"], told["overdue"]) == (3, 0, 1, 0)
    assert (seen.gaps, seen.lateness) == ([2.5, 0.25], [0.5])


def test_items_have_the_size_that_is_said() -> None:
    assert items_of(0) == b"[]"
    assert len(items_of(11)) == 11 * (ITEM_BYTES + 1) + 1
