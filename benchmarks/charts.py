"""Line charts as SVG: text and lines in middle tones on no background, so that they can be read on light and dark."""

import itertools
import math
from collections.abc import Iterable, Sequence
from html import escape

from benchmarks.findings import Chart, number

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 78, 180, 44, 58
TEXT, GRID = "#7d8590", "#7d859040"
COLOURS = ("#2f81f7", "#e8590c", "#2da44e", "#a371f7", "#d4a72c", "#db61a2")
FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
LEAST_LABEL_GAP = 17.0


def draw(chart: Chart) -> str:
    """The chart. Sizes go along a logarithmic axis, costs up from zero; each line has its name at its end."""
    points = [point for line in chart.lines.values() for point in line]
    across = _Across([x for x, _ in points])
    ticks = steps_up_to(max((y for _, y in points), default=0.0))
    up = _Up(ticks[-1])
    body = [
        _text(LEFT, 22, chart.title, size=15, weight=600),
        *_grid_up(ticks, up),
        *_grid_across(across),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, chart.x_axis, anchor="middle"),
        _text(LEFT, 38, chart.y_axis, size=12),
        *_lines(chart, across, up),
    ]
    view = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {view} role="img" font-family="{FONT}" fill="{TEXT}">'
    return "\n".join([opening, f"<title>{escape(chart.title)}</title>", *body, "</svg>"]) + "\n"


class _Across:
    """Where a size stands, on a logarithmic axis."""

    def __init__(self, sizes: Sequence[float]) -> None:
        self.sizes = sorted(set(sizes))
        logarithms = [math.log10(max(size, 1e-9)) for size in self.sizes] or [0.0]
        self._first, self._span = logarithms[0], logarithms[-1] - logarithms[0]

    def __call__(self, size: float) -> float:
        share = (math.log10(max(size, 1e-9)) - self._first) / self._span if self._span else 0.5
        return LEFT + 14 + share * (WIDTH - LEFT - RIGHT - 28)


class _Up:
    """How high a cost stands, on an axis from zero."""

    def __init__(self, top: float) -> None:
        self._top = top

    def __call__(self, cost: float) -> float:
        return HEIGHT - BOTTOM - cost / self._top * (HEIGHT - TOP - BOTTOM)


def steps_up_to(most: float) -> list[float]:
    """Four to eight round numbers from zero to at least `most`."""
    rough = max(most, 1e-9) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    return [step * count for count in range(math.ceil(max(most, 1e-9) / step - 1e-9) + 1)]


def apart(wanted: Iterable[float], gap: float = LEAST_LABEL_GAP) -> list[float]:
    """Heights as near to those that are wanted as leaves `gap` between each and the next; in the same order."""
    heights = list(wanted)
    order = sorted(range(len(heights)), key=heights.__getitem__)
    for before, after in itertools.pairwise(order):
        heights[after] = max(heights[after], heights[before] + gap)
    return heights


def _grid_up(ticks: Sequence[float], up: _Up) -> list[str]:
    drawn = []
    for tick in ticks:
        drawn.append(_rule(LEFT, up(tick), WIDTH - RIGHT, up(tick)))
        drawn.append(_text(LEFT - 8, up(tick) + 4, number(tick), size=12, anchor="end"))
    return drawn


def _grid_across(across: _Across) -> list[str]:
    drawn = []
    for size in across.sizes:
        drawn.append(_rule(across(size), TOP, across(size), HEIGHT - BOTTOM))
        drawn.append(_text(across(size), HEIGHT - BOTTOM + 18, number(size), size=12, anchor="middle"))
    return drawn


def _lines(chart: Chart, across: _Across, up: _Up) -> list[str]:
    drawn = []
    lines = {name: sorted(points) for name, points in chart.lines.items() if points}
    heights = apart(up(points[-1][1]) for points in lines.values())
    for index, (name, points) in enumerate(lines.items()):
        colour = COLOURS[index % len(COLOURS)]
        places = [(across(x), up(y)) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        drawn += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"><title>{escape(name)}: {number(cost)}</title>'
            "</circle>"
            for (x, y), (_, cost) in zip(places, points, strict=True)
        ]
        drawn.append(_text(WIDTH - RIGHT + 10, heights[index] + 4, name, colour=colour, weight=600))
    return drawn


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{GRID}"/>'


def _text(x: float, y: float, words: str, **look: str | float) -> str:
    named = {"size": 13, "anchor": "start", "colour": TEXT, "weight": 400} | look
    style = 'font-size="{size}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}"'.format(**named)
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'
