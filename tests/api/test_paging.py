import pytest

from orchestrator.domain.errors import Invalid
from orchestrator.service.paging import Page, cut


def test_the_cursor_of_a_slice_leads_to_its_last_entry() -> None:
    part = cut([9, 8, 7], Page(2), "things", lambda entry: (entry,))
    assert part.entries == [9, 8]
    assert Page(2, part.next_cursor).number("things") == 8


def test_the_last_slice_has_no_cursor() -> None:
    assert cut([9, 8], Page(2), "things", lambda entry: (entry,)).next_cursor is None
    assert cut([], Page(2), "things", lambda entry: (entry,)).next_cursor is None


def test_a_page_without_a_cursor_begins_at_the_start() -> None:
    assert Page().number("things") is None
    assert Page().numbers("things", 3) is None
    assert Page().text("things") is None


def test_a_text_survives() -> None:
    part = cut(["é/+", "b"], Page(1), "names", lambda entry: (entry,))
    assert Page(1, part.next_cursor).text("names") == "é/+"


def test_a_cursor_of_another_list_is_refused() -> None:
    cursor = cut([2, 1], Page(1), "things", lambda entry: (entry,)).next_cursor
    page = Page(1, cursor)
    with pytest.raises(Invalid):
        page.number("others")
    with pytest.raises(Invalid):
        page.numbers("things", 2)
    with pytest.raises(Invalid):
        page.text("things")


@pytest.mark.parametrize("place", [(True,), (2**63,), ("1",), (None,), ([1],)])
def test_what_is_no_place_is_refused(place: tuple[int, ...]) -> None:
    cursor = cut([2, 1], Page(1), "things", lambda _: place).next_cursor
    with pytest.raises(Invalid):
        Page(1, cursor).number("things")


@pytest.mark.parametrize("cursor", ["", "?", "e30=", "bnVsbA==", "W10=", "\ud800", "WyJuYW1lcyIsIlx1MDAwMCJd"])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid):
        Page(1, cursor).text("names")
