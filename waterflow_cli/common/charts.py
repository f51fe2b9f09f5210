"""Small charts as SVG that stands in a page by itself; its colours are the page's.

Shapes carry classes that the page's style sheet paints, so that one chart serves light and dark
pages. Nothing is told by colour alone: classes differ by dashes too, and figures stand as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup

from waterflow_cli.common.messages import tr
from waterflow_cli.common.number_formats import CHANCE, Estimate, write_number

_WIDTH, _PLOT_HEIGHT, _AXIS = 320.0, 92.0, 16.0
_EDGE = 8.0
_LABEL_ROW, _N_LABEL_ROWS = 12.0, 4
# Of the shown width: a mark that lies no further outside is still drawn in its place.
_REACH = 0.35
_CHARACTER = 5.4


_LEVEL_WIDTH, _PROBABILITY_WIDTH = 120.0, 320.0


@dataclass(frozen=True)
class ReferenceLine:
    """A value that a chart shows beside the data.

    Attributes
    ----------
    strong : bool
        Drawn with a full line; others are dashed.
    """

    value: float
    label: str
    strong: bool = False


@dataclass(frozen=True)
class Histogram:
    """Counts of values in bars of equal width; the outermost hold what lies beyond.

    Attributes
    ----------
    edges : tuple of float, shape (n_bars + 1,)
    counts : tuple of int, shape (n_bars,)
    by_label : tuple of int, optional
        Two of them: of the rows labelled 0, and of those labelled 1.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    by_label: tuple[tuple[int, ...], tuple[int, ...]] | None = None


def draw_histogram(
    histogram: Histogram,
    lines: Sequence[ReferenceLine] = (),
    *,
    title: str,
    band: tuple[float, float] | None = None,
    logarithmic: bool = False,
) -> Markup:
    """Draw bars, the shape of each class as a line, and lines with their labels on top.

    Parameters
    ----------
    lines : sequence of ReferenceLine
        One that lies far outside is named at the edge that it lies beyond.
    title : str
        Read out by screen readers.
    band : (float, float), optional
        A range to be shaded.
    logarithmic : bool
        The values are decimal logarithms; the axis shows what they stand for.
    """
    low, high = _domain(histogram, lines)
    scale = _Scale(low, high)
    rows = _place_labels(lines, scale)
    # Room for two rows of labels in every chart, so that neighbours stand alike.
    top = _LABEL_ROW * (1 + max([1, *rows])) + 4
    base = top + _PLOT_HEIGHT
    parts = [*_draw_bars(histogram, scale, base)]
    if band is not None:
        left, right = scale.at(max(band[0], low)), scale.at(min(band[1], high))
        parts.insert(0, _rectangle("band", left, top, max(1.5, right - left), _PLOT_HEIGHT))
    parts += _draw_classes(histogram, scale, base)
    heights = [_LABEL_ROW * (row + 1) - 2 for row in rows]
    parts += [
        _line(_kind(line), scale.at(line.value), y + 2, scale.at(line.value), base)
        for line, y in zip(lines, heights, strict=True)
        if scale.holds(line.value)
    ]
    # Labels last, so that no line runs through one.
    parts += [
        _text(_label_text(line, scale), _label_start(line, scale), y, f"label {_kind(line)}")
        for line, y in zip(lines, heights, strict=True)
    ]
    parts += _draw_axis(scale, base, logarithmic=logarithmic)
    return _svg(_WIDTH, base + _AXIS, parts, title)


@dataclass(frozen=True)
class _Scale:
    """Values to places between the edges of a chart."""

    low: float
    high: float
    left: float = _EDGE
    right: float = _WIDTH - _EDGE

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.left + share * (self.right - self.left)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def ticks(self) -> list[float]:
        """Give three to six round values."""
        rough = (self.high - self.low) / 4
        power = 10.0 ** np.floor(np.log10(rough))
        step = power * next((each for each in (1, 2, 5) if each * power >= rough), 10)
        first = np.ceil(self.low / step)
        last = np.floor(self.high / step)
        return [float(k * step) for k in np.arange(first, last + 1)]


def _domain(histogram: Histogram, lines: Iterable[ReferenceLine]) -> tuple[float, float]:
    low, high = histogram.edges[0], histogram.edges[-1]
    reach = (high - low) * _REACH
    near = [line.value for line in lines if low - reach <= line.value <= high + reach]
    return min([low, *near]), max([high, *near])


def _place_labels(lines: Sequence[ReferenceLine], scale: _Scale) -> list[int]:
    """Choose a row for each label so that none covers another."""
    ends = [-np.inf] * _N_LABEL_ROWS
    rows = [0] * len(lines)
    for number in sorted(range(len(lines)), key=lambda each: _label_start(lines[each], scale)):
        start = _label_start(lines[number], scale)
        free = [row for row, end in enumerate(ends) if end < start]
        rows[number] = free[0] if free else int(np.argmin(ends))
        ends[rows[number]] = start + len(_label_text(lines[number], scale)) * _CHARACTER + 4
    return rows


def _label_text(line: ReferenceLine, scale: _Scale) -> str:
    if scale.holds(line.value):
        return line.label
    return f"◂ {line.label}" if line.value < scale.low else f"{line.label} ▸"


def _label_start(line: ReferenceLine, scale: _Scale) -> float:
    width = len(_label_text(line, scale)) * _CHARACTER
    place = scale.at(min(max(line.value, scale.low), scale.high))
    return min(max(place - width / 2, 1.0), _WIDTH - width - 1)


def _kind(line: ReferenceLine) -> str:
    return "mark strong" if line.strong else "mark"


def _draw_bars(histogram: Histogram, scale: _Scale, base: float) -> list[Markup]:
    tallest = max(max(histogram.counts), 1)
    heights = [_PLOT_HEIGHT * count / tallest for count in histogram.counts]
    places = pairwise(map(scale.at, histogram.edges))
    return [
        _rectangle("bar", left, base - height, right - left, height)
        for (left, right), height in zip(places, heights, strict=True)
        if height
    ]


def _draw_classes(histogram: Histogram, scale: _Scale, base: float) -> list[Markup]:
    """Draw each class as shares of its own rows, so that a rare one can be seen."""
    if histogram.by_label is None:
        return []
    shares = [np.array(counts) / max(sum(counts), 1) for counts in histogram.by_label]
    tallest = max(float(each.max()) for each in shares) or 1.0
    places = [scale.at(edge) for edge in histogram.edges]
    paths = []
    for kind, heights in zip(("negative", "positive"), shares, strict=True):
        steps = [f"M{places[0]:.1f} {base:.1f}"]
        for right, height in zip(places[1:], heights, strict=True):
            steps.append(f"V{base - _PLOT_HEIGHT * height / tallest:.1f}H{right:.1f}")
        paths.append(Markup('<path class="{}" d="{}"/>').format(kind, "".join(steps)))
    return paths


def _draw_axis(scale: _Scale, base: float, *, logarithmic: bool = False) -> list[Markup]:
    parts = [_line("axis", scale.left, base, scale.right, base)]
    for tick in scale.ticks():
        x = scale.at(tick)
        shown = write_number(10**tick if logarithmic else tick)
        parts.append(_line("axis", x, base, x, base + 3))
        parts.append(_text(shown, min(max(x, 12), _WIDTH - 14), base + 13, "tick", "middle"))
    return parts


def draw_heat_map(
    names: Sequence[str], upper: Sequence[Sequence[float]], lower: Sequence[Sequence[float]]
) -> Markup:
    """Draw two symmetric tables of correlations as one: one above the diagonal, one below."""
    cell, margin, head = 34.0, 106.0, 78.0
    size = margin + cell * len(names)
    parts = []
    for row, name in enumerate(names):
        y = head + cell * row
        parts.append(_text(name, margin - 6, y + cell / 2 + 4, "label", "end"))
        x = margin + cell * row + cell / 2
        turned = Markup('<text class="label" transform="translate({:.1f} {:.1f}) rotate(-50)">{}')
        parts.append(turned.format(x, head - 6, name) + Markup("</text>"))
        for column in range(len(names)):
            value = (upper if column > row else lower)[row][column]
            parts += _heat_cell(value, margin + cell * column, y, cell, row == column)
    # Turned names reach beyond the last column.
    title = tr("Correlations of the measurements")
    return _svg(size + 50, head + cell * len(names) + 2, parts, title)


def _heat_cell(value: float, x: float, y: float, cell: float, diagonal: bool) -> list[Markup]:
    if diagonal:
        return [_rectangle("none", x, y, cell - 1, cell - 1)]
    known = 0.0 if value != value else value
    kind = "heat-high" if known > 0 else "heat-low"
    shade = Markup(
        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" '
        'fill-opacity="{:.2f}"/>'
    ).format(kind, x, y, cell - 1, cell - 1, min(abs(known), 1.0) * 0.85)
    shown = "-" if value != value else f"{value:+.2f}".replace("0.", ".")
    ink = "cell strong-ink" if abs(known) > 0.6 else "cell"
    return [shade, _text(shown, x + cell / 2 - 0.5, y + cell / 2 + 3.5, ink, "middle")]


def draw_patterns(
    names: Sequence[str], patterns: Sequence[tuple[Sequence[str], int, float]]
) -> Markup:
    """Draw which measurements are missing together: a row of dots and a bar for each pattern.

    Parameters
    ----------
    patterns : sequence of (names that are missing, rows, expected rows)
        The bar shows the rows; a tick on it and the figure in brackets, how many are expected by
        chance.
    """
    step, row_height, head = 19.0, 21.0, 98.0
    left, bars = 10.0, 22.0 + step * len(names)
    width = bars + 190.0
    largest = max([1.0, *(max(count, expected) for _, count, expected in patterns)])
    parts = []
    for column, name in enumerate(names):
        x = left + step * column + 4
        turned = Markup('<text class="label" transform="translate({:.1f} {:.1f}) rotate(-60)">{}')
        parts.append(turned.format(x, head - 8, name) + Markup("</text>"))
    for row, (absent, count, expected) in enumerate(patterns):
        y = head + row_height * row
        for column, name in enumerate(names):
            kind = "dot missing" if name in absent else "dot"
            radius = 5.5 if name in absent else 2.0
            dot = Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>')
            parts.append(dot.format(kind, left + step * column, y, radius))
        parts.append(_rectangle("bar", bars, y - 6, 90 * count / largest, 12))
        x = bars + 90 * expected / largest
        parts.append(_line("mark strong", x, y - 8, x, y + 8))
        shown = tr("{count:,} ({expected:,.0f})", count=count, expected=expected)
        parts.append(_text(shown, bars + 98, y + 4, "label"))
    height = head + row_height * len(patterns)
    return _svg(width, height, parts, tr("Measurements that are missing together"))


def draw_signal(
    chance: Sequence[float], estimates: Sequence[tuple[str, str, Estimate]], *, observed: float
) -> Markup:
    """Draw ROC AUCs on one axis: the permutations', and estimates with their intervals.

    Parameters
    ----------
    chance : sequence of float
        With permuted labels.
    estimates : sequence of (str, str, Estimate)
        Class of the style sheet, name and figure.
    observed : float
        What is to be compared with chance.
    """
    lows = [estimate.low for *_, estimate in estimates if estimate.low == estimate.low]
    highs = [estimate.high for *_, estimate in estimates if estimate.high == estimate.high]
    low = min([0.4, *chance, observed, *lows])
    high = max([0.8, *chance, observed, *highs])
    width, row = 440.0, 36.0
    scale = _Scale(low, high, 12.0, width - 12.0)
    base = row * (len(estimates) + 1) + 8
    middle = scale.at(CHANCE)
    parts = [_line("mark", middle, 2, middle, base)]
    for number, (kind, name, estimate) in enumerate(estimates):
        parts += _draw_interval(kind, name, estimate, scale, row * number)
    y = row * len(estimates)
    words = tr("forest, labels permuted (dots) and true (diamond)")
    parts.append(_text(words, 12, y + 14, "label"))
    for auc in chance:
        dot = Markup('<circle class="chance" cx="{:.1f}" cy="{:.1f}" r="3"/>')
        parts.append(dot.format(scale.at(auc), y + 25))
    x = scale.at(observed)
    diamond = Markup('<path class="point" d="M{:.1f} {:.1f}l6 6l-6 6l-6-6z"/>')
    parts.append(diamond.format(x, y + 19))
    parts.append(_line("axis", scale.left, base, scale.right, base))
    for tick in scale.ticks():
        x = scale.at(tick)
        parts.append(_line("axis", x, base, x, base + 4))
        shown = f"{tick:.2g}"
        if abs(tick - CHANCE) < 1e-9:
            shown += " " + tr("chance")
        parts.append(_text(shown, x, base + 16, "tick", "middle"))
    return _svg(width, base + 20, parts, tr("ROC AUC of the quick models, beside chance"))


def _draw_interval(
    kind: str, name: str, estimate: Estimate, scale: _Scale, top: float
) -> list[Markup]:
    parts = [_text(name, 12, top + 14, "label")]
    y = top + 25
    if estimate.low == estimate.low:
        parts.append(_line(f"{kind} reach", scale.at(estimate.low), y, scale.at(estimate.high), y))
    dot = Markup('<circle class="{} dot-of" cx="{:.1f}" cy="{:.1f}" r="5"/>')
    return [*parts, dot.format(kind, scale.at(estimate.value), y)]


def draw_level(share: float, *, is_beyond: bool) -> Markup:
    """Draw a result as a bar against its limit, whose line stands at half of the width.

    Parameters
    ----------
    share : float
        The result in parts of the limit; what is above 2 fills the bar. Nothing is drawn for NaN.
    """
    if share != share:
        return Markup("")
    width = min(max(share, 0.0), 2.0) / 2 * _LEVEL_WIDTH
    bar = _rectangle("level beyond" if is_beyond else "level", 0, 3, max(width, 1.0), 6)
    mark = _line("mark", _LEVEL_WIDTH / 2, 0, _LEVEL_WIDTH / 2, 12)
    return _svg(_LEVEL_WIDTH, 12, [bar, mark], tr("{share:.0%} of the limit", share=share))


def draw_probability(value: float, low: float, high: float) -> Markup:
    """Draw a probability between 0 and 1, and the cuts up to and from which a model decides."""
    scale = _PROBABILITY_WIDTH / 1.0
    cuts = [_line("mark", cut * scale, 6, cut * scale, 24) for cut in (low, high) if 0 <= cut <= 1]
    parts = [
        _rectangle("bar", 0, 10, _PROBABILITY_WIDTH, 10),
        *cuts,
        _rectangle("point", min(max(value * scale - 2, 0), _PROBABILITY_WIDTH - 4), 5, 4, 20),
        _text("0", 0, 38, "tick"),
        _text("1", _PROBABILITY_WIDTH, 38, "tick", "end"),
    ]
    return _svg(_PROBABILITY_WIDTH, 42, parts, tr("Probability {value:.3f}", value=value))


def _svg(width: float, height: float, parts: Iterable[Markup], title: str) -> Markup:
    opening = Markup('<svg viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">')
    return opening.format(width, height, title) + Markup("").join(parts) + Markup("</svg>")


def _text(text: str, x: float, y: float, kind: str, anchor: str = "start") -> Markup:
    shape = Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>')
    return shape.format(kind, x, y, anchor, text)


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    shape = Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>')
    return shape.format(kind, x1, y1, x2, y2)


def _rectangle(kind: str, x: float, y: float, width: float, height: float) -> Markup:
    shape = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>')
    return shape.format(kind, x, y, width, height)
