"""A profile as one page of HTML that needs nothing else."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone

from tach.notifiers.console import human
from tach.notifiers.profile_rows import Profile, Row
from tach.notifiers.profile_table import notes

COLUMNS = (
    "calls",
    "errors",
    "running",
    "own",
    "total",
    "mean",
    "p50",
    "p95",
    "p99",
    "max",
    "waiting",
)
MARKS = ("p50", "p95", "p99")
BAR = 8  # pixels of a bar of the small plot, and of the large one
LARGE_BAR = 32
HEIGHT = 24
LARGE_HEIGHT = 130
MOST_LISTED = 30  # callers, and called ones

STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --dim: #66707a; --paper: #fff; --row: #f5f7f9;
  --line: #d5dbe1; --bar: #3b76b5; --share: #cfe1f4; --mark: #b5483b; --hover: #e9f1fa }
@media (prefers-color-scheme: dark) { :root { --ink: #dce1e6; --dim: #8d98a3; --paper: #15181c;
  --row: #1b2025; --line: #333b43; --bar: #6aa3de; --share: #24415f; --mark: #e0877c;
  --hover: #222c37 } }
* { box-sizing: border-box }
body { font: 14px/1.45 system-ui, sans-serif; margin: 0 auto;
  padding: 1.5rem 2rem; max-width: 1500px; color: var(--ink); background: var(--paper) }
h1 { font-size: 1.25rem; margin: 0 0 .2rem; overflow-wrap: anywhere }
h1 code, td:first-child, .who { font-family: ui-monospace, SFMono-Regular, Menlo, monospace;
  font-size: .92em }
.facts { display: flex; flex-wrap: wrap; gap: .4rem 2rem; margin: .9rem 0; padding: 0 }
.facts div { display: flex; flex-direction: column-reverse }
.facts dt { color: var(--dim); font-size: .85em } .facts dd { margin: 0; font-size: 1.2rem }
p { color: var(--dim); max-width: 75ch; margin: .4rem 0 }
.note { color: var(--mark) }
input { font: inherit; color: inherit; background: var(--row); border: 1px solid var(--line);
  border-radius: 4px; padding: .3rem .6rem; width: 22rem; max-width: 100%; margin: .5rem 0 .8rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th { position: sticky; top: 0; background: var(--paper); border-bottom: 2px solid var(--line);
  cursor: pointer; text-align: right; white-space: nowrap; user-select: none }
th:first-child, td:first-child { text-align: left }
th.down::after { content: " \\2193" } th.up::after { content: " \\2191" }
th, td { padding: .28rem .6rem }
td { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 16rem }
tbody:nth-of-type(odd) > tr { background: var(--row) }
tr.function { cursor: pointer } tr.function:hover { background: var(--hover) }
tr.function td:first-child::before { content: "\\25B8 "; color: var(--dim) }
tbody.open tr.function td:first-child::before { content: "\\25BE " }
.zero { color: var(--dim) } .bad { color: var(--mark) }
td.own { background: linear-gradient(to left, var(--share) var(--part), transparent var(--part)) }
tr.more > td { padding: .6rem 1.4rem 1.2rem; text-align: left; white-space: normal }
.sides { display: flex; flex-wrap: wrap; gap: 1.2rem 3rem; font-family: system-ui, sans-serif }
.sides h2 { font-size: .95rem; margin: 0 0 .4rem } .sides table { width: auto }
.sides th { position: static; cursor: default; font-weight: 600; background: none;
  border-bottom-width: 1px }
.sides td:first-child { min-width: 0 }
.sides tr { background: none !important }
rect { fill: var(--bar) } line { stroke: var(--mark); stroke-width: 1.5 }
text { fill: var(--dim); font: 11px system-ui, sans-serif }
"""
# Sorts by the column whose head is clicked, shows what contains the text of the field, and opens
# the function that is clicked.
SCRIPT = """
const table = document.querySelector("table.functions"), bodies = () => [...table.tBodies];
for (const head of table.tHead.rows[0].cells) head.addEventListener("click", () => {
  const at = head.cellIndex, up = head.className === "down";
  for (const each of table.tHead.rows[0].cells) each.className = "";
  head.className = up ? "up" : "down";
  const key = body => body.rows[0].cells[at].dataset.value;
  const order = (a, b) => at ? key(b) - key(a) : key(a).localeCompare(key(b));
  table.append(...bodies().sort((a, b) => up ? order(b, a) : order(a, b)));
});
document.querySelector("input").addEventListener("input", event => {
  const wanted = event.target.value.toLowerCase();
  for (const body of bodies()) body.hidden = !body.dataset.name.toLowerCase().includes(wanted);
});
table.addEventListener("click", event => {
  const row = event.target.closest("tr.function");
  if (row) row.nextElementSibling.hidden = !row.parentElement.classList.toggle("open");
});
"""


def page(profile: Profile) -> str:
    """The whole page."""
    title = html.escape(f"tach profile of {profile.command}")
    called = _called(profile)
    heads = "".join(_head(name) for name in ("function", *COLUMNS, "distribution"))
    body = "\n".join(_function(row, profile.own, called.get(row.name, [])) for row in profile.rows)
    remarks = "".join(
        f'<p class="note">{html.escape(note)}</p>'
        for note in dict.fromkeys([*notes(profile), *profile.notes])
        if "remarks more" not in note
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body>\n"
        f"<h1>tach profile of <code>{html.escape(profile.command)}</code></h1>\n"
        f"{_facts(profile)}\n"
        "<p><b>own</b> is the time in a function itself, without the measured functions that it "
        "called; of coroutines and generators that of their steps. <b>total</b> is from begin to "
        "end, of calls within each other that of the outermost; <b>running</b> are calls that had "
        "not ended. A click on a head sorts, one on a function shows how long its calls took and "
        f"who called it.</p>\n{remarks}"
        '<input type="search" placeholder="show functions with ..." aria-label="filter">\n'
        f'<div class="wide"><table class="functions"><thead><tr>{heads}</tr></thead>\n{body}\n'
        f"</table></div>\n<script>{SCRIPT}</script></body></html>\n"
    )


def _facts(profile: Profile) -> str:
    made = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    facts = {
        "the program ran": f"{profile.seconds:.2f} s",
        "in measured functions": human(profile.own),
        "functions called": f"{len(profile.rows):,}",
        "calls": f"{sum(row.calls for row in profile.rows):,}",
        "errors": f"{sum(row.errors for row in profile.rows):,}",
        "made": made,
    }
    shown = "".join(f"<div><dt>{name}</dt><dd>{fact}</dd></div>" for name, fact in facts.items())
    return f'<dl class="facts">{shown}</dl>'


def _head(name: str) -> str:
    return f'<th class="down">{name}</th>' if name == "own" else f"<th>{name}</th>"


def _called(profile: Profile) -> Mapping[str, list[tuple[str, int, float]]]:
    """What each function called: names, calls, total."""
    found: dict[str, list[tuple[str, int, float]]] = {}
    for row in profile.rows:
        for caller in row.callers:
            found.setdefault(caller.name, []).append((row.name, caller.calls, caller.total))
    return {name: sorted(each, key=lambda one: (-one[2], one[0])) for name, each in found.items()}


def _function(row: Row, all_own: float, called: Sequence[tuple[str, int, float]]) -> str:
    name = html.escape(row.name)
    cells = "".join(_cell(column, row, all_own) for column in COLUMNS)
    return (
        f'<tbody data-name="{name}"><tr class="function"><td data-value="{name}">{name}</td>{cells}'
        f'<td data-value="{row.p50}">{_plot(row)}</td></tr>'
        f'<tr class="more" hidden><td colspan="{len(COLUMNS) + 2}">{_more(row, called)}</td></tr>'
        "</tbody>"
    )


def _cell(column: str, row: Row, all_own: float) -> str:
    value: float | None = getattr(row, column)
    shown = "-" if value is None or not row.calls else human(value)
    marks = "zero" if not value else ""
    if column in ("calls", "errors", "running"):
        shown = f"{value:,}" if value else "-"
    if column == "errors" and value:
        marks = "bad"
    if column == "own" and all_own:
        part = 100 * row.own / all_own
        return (
            f'<td class="own" style="--part:{part:.1f}%" data-value="{value}" '
            f'title="{part:.1f} %">{shown}</td>'
        )
    return f'<td class="{marks}" data-value="{value or 0}">{shown}</td>'


def _plot(row: Row) -> str:
    """The distribution from the least to the greatest time, logarithmic, as an SVG."""
    says = f"{human(row.low)} to {human(row.max)}"
    return (
        f'<svg width="{BAR * len(row.bars)}" height="{HEIGHT}"><title>{says}</title>'
        f"{_bars(row, BAR, HEIGHT)}</svg>"
    )


def _bars(row: Row, width: int, height: int) -> str:
    greatest = max(row.bars, default=0) or 1
    return "".join(
        f'<rect x="{width * place}" y="{height - height * count / greatest:.1f}" '
        f'width="{width - 1}" height="{height * count / greatest:.1f}">'
        f"<title>{count:,} of up to {human(limit)}</title></rect>"
        for place, (count, limit) in enumerate(zip(row.bars, row.limits(), strict=True))
        if count
    )


def _more(row: Row, called: Sequence[tuple[str, int, float]]) -> str:
    callers: list[tuple[str, int, float | None]] = [*row.callers]
    others = row.calls - sum(each.calls for each in row.callers)
    if others > 0:
        callers.append(("(what is not measured)", others, None))
    return (
        f'<div class="sides"><div><h2>How long its calls took</h2>{_large_plot(row)}</div>'
        f"{_list('Called by', callers)}{_list('Called', called) if called else ''}</div>"
    )


def _list(title: str, listed: Sequence[tuple[str, int, float | None]]) -> str:
    rows = "".join(
        f'<tr><td class="who">{html.escape(name)}</td><td>{calls:,}</td>'
        f"<td>{'-' if total is None else human(total)}</td></tr>"
        for name, calls, total in listed[:MOST_LISTED]
    )
    more = len(listed) - MOST_LISTED
    rest = f"<p>and {more} more</p>" if more > 0 else ""
    return (
        f"<div><h2>{title}</h2><table><thead><tr><th></th><th>calls</th><th>total</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>{rest}</div>"
    )


def _large_plot(row: Row) -> str:
    """The same with a scale, and marks where the percentiles are."""
    width = LARGE_BAR * len(row.bars)
    return (
        f'<svg width="{width + 60}" height="{LARGE_HEIGHT + 40}"><g transform="translate(30 20)">'
        f"{_bars(row, LARGE_BAR, LARGE_HEIGHT)}{''.join(_marks(row, width))}"
        f"{''.join(_scale(row))}</g></svg>"
    )


def _marks(row: Row, width: int) -> Iterator[str]:
    low, high = max(row.low, 1e-6), max(row.max, 2e-6)
    if high <= low:
        return
    taken = -math.inf
    for name in MARKS:
        value = max(getattr(row, name), low)
        at = width * math.log(value / low) / math.log(high / low)
        yield f'<line x1="{at:.1f}" x2="{at:.1f}" y1="-4" y2="{LARGE_HEIGHT}"/>'
        if at - taken > LARGE_BAR:
            yield f'<text x="{at:.1f}" y="-8" text-anchor="middle">{name}</text>'
            taken = at


def _scale(row: Row) -> Iterator[str]:
    limits = [max(row.low, 1e-6), *row.limits()]
    for place in range(0, len(limits), 4):
        yield (
            f'<text x="{LARGE_BAR * place}" y="{LARGE_HEIGHT + 15}" text-anchor="middle">'
            f"{human(limits[place])}</text>"
        )
