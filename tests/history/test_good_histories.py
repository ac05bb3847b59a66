"""What keeps every promise is not flagged, whatever it has been through."""

from pathlib import Path

import pytest

from tests.history.checker import check, report, summary
from tests.history.findings import HistoryUnreadable
from tests.history.json_lines import read_lines
from tests.history.tales import TALES, busy, interrupted, scheduled


@pytest.mark.parametrize("name", TALES)
def test_nothing_is_found_in_a_good_history(name: str) -> None:
    findings = TALES[name]().findings()
    assert not findings, report(findings)


def test_what_has_not_come_to_rest_is_told_when_asked() -> None:
    assert not check(busy().history(), is_at_rest=True)
    assert not check(scheduled().history(), is_at_rest=True)
    found = check(interrupted().history(), is_at_rest=True)
    assert {finding.rule for finding in found} == {"convergence"}
    assert len(found) == 4


def test_a_summary_tells_an_empty_history_from_a_good_one() -> None:
    text = summary(busy().history())
    assert "1 succeeded" in text
    assert "12 applied, 1 fenced, 1 lost" in text
    assert "4 items in 3 batches" in text


def test_the_built_in_collector_is_checked_by_its_tables() -> None:
    story = busy()
    story.collect_built_in()
    assert not story.findings()
    story.dump.collected.popitem()
    assert [finding.rule for finding in story.findings()] == ["I7"]


def test_a_torn_last_line_is_passed_over_and_no_other(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"event": "call"}\n{"event": "ca')
    assert list(read_lines(log)) == [{"event": "call"}]
    log.write_text('{"event": "ca\n{"event": "call"}\n')
    with pytest.raises(HistoryUnreadable, match="line 1"):
        list(read_lines(log))
