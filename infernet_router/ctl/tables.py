"""Tables: prints rows, aligned where a terminal shows them, and divided by tabs elsewhere."""

import json
from collections.abc import Iterable, Sequence
from typing import IO, Any


def print_table(names: Sequence[str], rows: Iterable[Sequence[Any]], file: IO[str]) -> None:
    """Print rows, below the names of their columns where a terminal shows them."""
    texts = [[text_of(value) for value in row] for row in rows]
    if not file.isatty():
        for row in texts:
            print("\t".join(row), file=file)
        return
    texts.insert(0, [name.upper() for name in names])
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip(), file=file)


def print_fields(fields: Iterable[tuple[str, Any]], file: IO[str]) -> None:
    """Print names and values, one a line."""
    pairs = [(name, text_of(value)) for name, value in fields]
    width = max(len(name) for name, _ in pairs) + 2 if file.isatty() else 0
    for name, text in pairs:
        print(f"{name:<{width}}{text}" if width else f"{name}\t{text}", file=file)


def print_json(content: object, file: IO[str]) -> None:
    """Print JSON, on one line unless a terminal shows it."""
    print(json.dumps(content, indent=2 if file.isatty() else None), file=file)


def text_of(value: Any) -> str:
    """A value as a table has it: on one line, printable, and - for nothing."""
    match value:
        case None | "" | []:
            return "-"
        case True | False:
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case list():
            return ",".join(map(text_of, value))
    text = str(value)
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
