"""What the demo shows in a terminal: both sides, as lines of text for a window of any size."""

from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from statistics import fmean

from attrs import frozen
from rich.console import Console
from rich.text import Text

from infernet_router.demo.demo import Demo
from infernet_router.demo.figures import Figures, ratio, shown
from infernet_router.demo.story import Pair

_LABEL = 21
"""The width of the first column."""
_OURS, _THEIRS = "green", "yellow"
_STATES = {"killed": "red", "stalled": "magenta", "broken": "red", "drained": "cyan"}
_WIDEST = 160
"""Columns that are used at most: longer bars say no more."""
_NEWS, _LOG, _MOST_LOG = 2, 3, 12
"""Lines for what to look at, for the log, and for the log in a high window."""
_CHART = 6
"""Lines of the chart in a high window."""
_GAPS = 3


@frozen
class Characters:
    """What bars and charts are drawn with."""

    bar: str
    steps: str
    """From empty to full."""
    none: str


UNICODE = Characters("█", " ▁▂▃▄▅▆▇█", "·")
ASCII = Characters("#", " .:-=+*%#", "-")


def draw(demo: Demo, console: Console) -> Text:
    """The state of the demo, in as many lines as the console has."""
    height, width = console.height, min(console.width, _WIDEST)
    lines = list(_lines(demo, console, width, height))[: height - 1]
    lines += [Text()] * (height - 1 - len(lines))
    lines.append(Text(f"{keys_of(demo):{width}}", style="reverse"))
    for line in lines:
        line.truncate(width)
    return Text("\n", no_wrap=True, end="").join(lines)


def _lines(demo: Demo, console: Console, width: int, height: int) -> Iterator[Text]:
    """All lines but the last. What spare lines there are go to the log, gaps and the chart."""
    characters = ASCII if console.options.ascii_only else UNICODE
    column = max(8, (width - _LABEL - 2) // 2)
    head, table = _head(demo, width), [*_table(demo, column, characters), *_figures(demo, column)]
    news = _wrapped([demo.story.text], console, width)
    news += [Text()] * (_NEWS - len(news))
    spare = height - 1 - len(head) - len(table) - 1 - len(news)
    few = _clamp(spare, _LOG)
    gaps = _clamp(spare - few, _GAPS)
    more_chart = _clamp(spare - few - gaps, _CHART - 1)
    many = few + _clamp(spare - few - gaps - more_chart, _MOST_LOG - _LOG)
    yield from head
    yield from [Text()] * (gaps > 1)
    yield from table
    yield from _charts(demo, column, 1 + more_chart, characters)
    yield from [Text()] * (gaps > 0)
    for line in news:
        line.stylize("bold")
        yield line
    yield from [Text()] * (gaps > 2)
    for line in _last([f"log: {line}" for line in demo.log], many, console, width):
        line.stylize("dim")
        yield line


def _clamp(lines: int, most: int) -> int:
    return max(0, min(lines, most))


def _wrapped(texts: Iterable[str], console: Console, width: int) -> list[Text]:
    return [line for text in texts for line in Text(text).wrap(console, width)]


def _last(texts: Sequence[str], most: int, console: Console, width: int) -> list[Text]:
    """The last texts, as many as fit whole into this many lines; of a longer one, its beginning."""
    lines: list[Text] = []
    for text in reversed(texts):
        wrapped = _wrapped([text], console, width)
        if lines and len(wrapped) + len(lines) > most:
            break
        lines = wrapped + lines
    return lines[:most]


def _head(demo: Demo, width: int) -> list[Text]:
    seconds = int(demo.seconds)
    title = "Infernet Router: two equal fleets, the same jobs at the same time"
    time = f" {seconds // 60}:{seconds % 60:02}"
    return [
        Text(f"{title:{max(0, width - len(time))}}{time}", style="bold"),
        *(Text(line) for line in addresses(demo)),
    ]


def addresses(demo: Demo) -> list[str]:
    """Where to look and what to try, and which ports were taken."""
    return [
        f"Status page  {demo.status_page}  (token to change things: {demo.token})",
        f'Try          curl "{demo.api}?container=llm"',
        *(f"Note         {note}" for note in demo.notes),
    ]


def keys_of(demo: Demo) -> str:
    """The keys, and what they do."""
    return f"k kill  s stall  b break  d drain a node   + - load: {demo.load:.0%}   q quit"


def _row(label: str, ours: str, theirs: str, column: int, style: str = "") -> Text:
    row = Text(f"{label:{_LABEL}}"[:_LABEL], style=style)
    row.append(f"{ours:{column}}"[:column], style=_OURS)
    row.append(f"  {theirs}"[: column + 2], style=_THEIRS)
    return row


def _table(demo: Demo, column: int, characters: Characters) -> Iterator[Text]:
    """A line for each pair of nodes, with the jobs that each has."""
    yield _row("node, speed", "this router", "least pending", column, "bold")
    both = [(pair.left.node.pending, pair.right.node.pending) for pair in demo.pairs]
    scale = min(1.0, (column - 5) / max(1, *(max(jobs) for jobs in both)))
    for pair, jobs in zip(demo.pairs, both, strict=True):
        ours, theirs = (
            f"{characters.bar * ceil(count * scale)} {count}" if count else characters.none
            for count in jobs
        )
        row = _row(_label(pair, demo), ours, theirs, column)
        if pair.state:
            row.stylize(f"bold {_STATES[pair.state]}", 0, _LABEL)
        yield row


def _label(pair: Pair, demo: Demo) -> str:
    node = pair.left.node
    what = " ".join(container.id for container in node.containers)
    if pair.state:
        what = f"{pair.state} {max(0, ceil(pair.until - demo.began - demo.seconds))} s"
    return f"{pair.number}  {node.speed:.1f}  {what}"


def _figures(demo: Demo, column: int) -> Iterator[Text]:
    ours, theirs = Figures.of(demo.ours), Figures.of(demo.others)
    for label, one, other in (
        ("mean job time", ours.mean, theirs.mean),
        ("99th percentile", ours.p99, theirs.p99),
    ):
        both = f"{shown(other):7} {ratio(one, other)}"
        yield _row(label, shown(one), both, column, "bold")
    yield _row("jobs waiting", str(ours.waiting), str(theirs.waiting), column)
    yield _row("retries", str(ours.retries), str(theirs.retries), column)


def _charts(demo: Demo, column: int, rows: int, characters: Characters) -> Iterator[Text]:
    """The mean job time over time, of both sides, on one scale."""
    trends = [_fitted(tuple(side.trend), column) for side in (demo.ours, demo.others)]
    top = max((max(trend) for trend in trends if trend), default=0.0)
    for row in reversed(range(rows)):
        label = f"trend, up to {shown(top)}" if row == rows - 1 and top else ""
        ours, theirs = ("".join(_cells(trend, top, row, rows, characters)) for trend in trends)
        yield _row(label, ours, theirs, column)


def _fitted(values: Sequence[float], width: int) -> list[float]:
    """The values, or means of as many as it takes to fit into this width."""
    many = max(1, ceil(len(values) / width))
    return [fmean(values[start : start + many]) for start in range(0, len(values), many)]


def _cells(
    values: Sequence[float], top: float, row: int, rows: int, characters: Characters
) -> Iterator[str]:
    full = len(characters.steps) - 1
    for value in values:
        eighths = round(value / top * rows * full) if top else 0
        least = 1 if row == 0 else 0
        yield characters.steps[max(least, min(full, eighths - row * full))]
