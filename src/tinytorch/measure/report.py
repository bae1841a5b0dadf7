"""Tables and reports: one description, shown in a terminal or in a self-contained HTML page."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinytorch.files import write_whole

Spec = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """Columns and rows of text, with a title and notes below."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def is_numeric(self, column: int) -> bool:
        """Say whether a column should be aligned to the right: every filled cell is a number."""
        cells = [row[column] for row in self.rows if row[column] not in ("", "-")]
        return bool(cells) and all(cell.lstrip("-+<>")[:1].isdigit() for cell in cells)

    def to_html(self) -> str:
        """Return the table as HTML, its text escaped."""
        kinds = [' class="n"' if self.is_numeric(i) else "" for i in range(len(self.columns))]
        head = "".join(
            f"<th{k}>{html.escape(c)}</th>" for c, k in zip(self.columns, kinds, strict=True)
        )
        body = "".join(
            "<tr>"
            + "".join(f"<td{k}>{html.escape(c)}</td>" for c, k in zip(row, kinds, strict=True))
            + "</tr>"
            for row in self.rows
        )
        notes = "".join(f"<p class='note'>{html.escape(note)}</p>" for note in self.notes)
        return (
            f"<figure><figcaption>{html.escape(self.title)}</figcaption><div class='scroll'>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{notes}</figure>"
        )


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs, tables, charts (Vega-Lite specs by title) and source listings."""

    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: Mapping[str, Spec] = field(default_factory=dict)
    listings: Mapping[str, str] = field(default_factory=dict)


_STYLE = """
:root { color-scheme: light; --ink: #1d2430; --soft: #5b6675; --line: #d9dee6; --accent: #2a5bd7 }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: #fff;
       max-width: 68rem; margin: 2rem auto; padding: 0 1.25rem }
h1 { font-size: 1.7rem; margin-bottom: .2rem } h2 { margin-top: 2.6rem; font-size: 1.25rem;
border-top: 2px solid var(--line); padding-top: 1.1rem }
nav a { margin-right: 1rem; color: var(--accent) } p.note, p.sub { color: var(--soft);
font-size: .88rem; margin: .25rem 0 }
figure { margin: 1.2rem 0 } figcaption { font-weight: 600; margin-bottom: .4rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-size: .86rem }
th, td { padding: .32rem .7rem; border-bottom: 1px solid var(--line); text-align: left;
         white-space: nowrap }
th { color: var(--soft); font-weight: 600 } .n { text-align: right;
font-variant-numeric: tabular-nums }
tbody tr:hover { background: #f5f7fb } pre { background: #f5f7fb; padding: 1rem; overflow-x: auto;
font-size: .85rem; border-radius: 6px } .chart { margin: 1rem 0; overflow-x: auto }
"""


def _embedded(value: object) -> str:
    """Return JSON that can't end the script element it stands in."""
    return json.dumps(value).replace("</", "<\\/")


@dataclass(frozen=True)
class Report:
    """A titled page of sections. The HTML needs no network: it carries its own drawing code."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]

    def _body(self) -> Iterator[str]:
        links = (f"<a href='#s{i}'>{html.escape(s.title)}</a>" for i, s in enumerate(self.sections))
        yield f"<nav>{' '.join(links)}</nav>"
        chart = 0
        for i, section in enumerate(self.sections):
            yield f"<section id='s{i}'><h2>{html.escape(section.title)}</h2>"
            yield from (f"<p>{html.escape(paragraph)}</p>" for paragraph in section.text)
            for title, spec in section.charts.items():
                yield f"<figure><figcaption>{html.escape(title)}</figcaption>"
                yield f"<div class='chart' id='c{chart}'></div></figure>"
                call = f"vegaEmbed('#c{chart}', {_embedded(spec)}, {{actions: false}})"
                yield f"<script>{call}</script>"
                chart += 1
            yield from (table.to_html() for table in section.tables)
            for title, source in section.listings.items():
                yield f"<figure><figcaption>{html.escape(title)}</figcaption>"
                yield f"<pre>{html.escape(source)}</pre></figure>"
            yield "</section>"

    def to_html(self) -> str:
        """Return the whole page."""
        drawing = ""
        if any(section.charts for section in self.sections):
            import vl_convert

            bundle = vl_convert.javascript_bundle()  # type: ignore[call-arg]
            bundle = bundle.replace("</script", "<\\/script")
            drawing = f"<script>{bundle}</script>"
        return (
            "<!doctype html><html lang='en'><meta charset='utf-8'>"
            "<meta name='viewport' content='width=device-width'>"
            f"<title>{html.escape(self.title)}</title><style>{_STYLE}</style>{drawing}"
            f"<h1>{html.escape(self.title)}</h1><p class='sub'>{html.escape(self.subtitle)}</p>"
            f"{''.join(self._body())}</html>"
        )

    def write(self, path: Path) -> Path:
        """Write the page in one step, so that a kill leaves the old one or the new one."""
        return write_whole(path, self.to_html())


def write_png(spec: Spec, path: Path, scale: float = 2.0) -> Path:
    """Render a Vega-Lite spec to a PNG file."""
    import vl_convert

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(vl_convert.vegalite_to_png(json.dumps(spec), scale=scale))
    return path


def table_of(title: str, rows: Sequence[Mapping[str, str]], notes: Sequence[str] = ()) -> Table:
    """Return a Table from rows as mappings; the first row's keys are the columns."""
    columns = tuple(rows[0]) if rows else ()
    cells = tuple(tuple(row.get(column, "") for column in columns) for row in rows)
    return Table(title, columns, cells, tuple(notes))
