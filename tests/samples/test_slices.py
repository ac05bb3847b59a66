"""How a catalogue is divided, and a slice turned over page by page."""

from hypothesis import given
from hypothesis import strategies as st

from sample_apps.catalog_import.slices import Slice, split


@given(size=st.integers(0, 300_000), parts=st.integers(1, 10))
def test_the_slices_are_even_and_leave_nothing_out(size: int, parts: int) -> None:
    slices = split(size, parts)
    assert len(slices) == parts
    assert [part.start for part in slices] == [0, *(part.stop for part in slices[:-1])]
    assert slices[-1].stop == size
    assert max(part.size for part in slices) - min(part.size for part in slices) <= 1


@given(start=st.integers(0, 1_000), size=st.integers(0, 1_000), page_size=st.integers(1, 300))
def test_the_pages_of_a_slice_are_its_positions_in_order(start: int, size: int, page_size: int) -> None:
    part = Slice(start=start, stop=start + size, cursor=start)
    seen: list[int] = []
    while not part.is_finished:
        page = part.next_page(page_size)
        assert 1 <= len(page) <= page_size
        seen += page
        part = part.after(page)
        assert part.imported == len(seen)
    assert seen == list(range(start, start + size))
