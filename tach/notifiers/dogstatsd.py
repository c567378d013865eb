"""Lines of the DogStatsD dialect: metrics by what they measure, tagged with their target."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from tach.histogram import Histogram
from tach.notifiers.families import Reader
from tach.notifiers.statsd_rates import (
    USUAL_PERCENTILES,
    plain_number,
    rate_text,
    rates,
)
from tach.samples import RunInfo

if TYPE_CHECKING:
    from tach.samples import Sample

OWN_TAGS = ("target", "type")
LONGEST = 200  # bytes of a name, and of a tag
LONGEST_TAGS = 500  # of all constant ones, so that a packet has room for values
TAG = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
TAG_VALUE = re.compile(r"[A-Za-z0-9_.:/-]+")
NOBODY = RunInfo("", "", (), "")


class Dogstatsd:
    """Makes the lines of samples. `kind` is the type of histograms: d, a distribution, or h.

    At most `max_values` values stand for a histogram, and a line has at most `max_line` bytes.
    """

    def __init__(
        self,
        tags: Mapping[str, str],
        kind: Literal["d", "h"],
        strip: str | None,
        max_values: int,
        max_line: int,
    ) -> None:
        self._constant = dict(tags)
        self._kind = kind
        self._strip = strip
        self._max_values = max_values
        self._max_line = max_line
        self._reader = Reader(strip, NOBODY)
        self._tags = dict(tags)

    def introduce(self, run: RunInfo) -> None:
        """Learn what is measured: the tag `program`, and what to strip."""
        self._reader = Reader(self._strip, run)
        self._tags = {"program": run.program, **self._constant}

    def lines(self, sample: Sample) -> Iterator[str]:
        """The lines of one sample; times are in milliseconds, as statsd has them."""
        reading = self._reader.read(sample)
        name = re.sub(r"[^A-Za-z0-9_.]", "_", f"tach.{reading.family.name}")[:LONGEST]
        tags = {**self._tags, "target": reading.target, "type": reading.error}
        tail = ",".join(_tag(tag, value) for tag, value in tags.items() if value)
        end = f"|#{tail}" if tail else ""
        if isinstance(sample.value, Histogram):
            yield from self._packed(name, sample.value, end)
        else:
            kind = "g" if sample.kind == "gauge" else "c"
            yield f"{name}:{plain_number(sample.value)}|{kind}{end}"

    def _packed(self, name: str, histogram: Histogram, end: str) -> Iterator[str]:
        """`name:value:value|d|@rate|#tags`: values of one rate share a line."""
        for exponent, values in _values(histogram, self._max_values).items():
            tail = f"|{self._kind}{rate_text(exponent)}{end}"
            line = name
            for value in values:
                if line != name and len(line) + len(value) + 1 + len(tail) > self._max_line:
                    yield line + tail
                    line = name
                line += f":{value}"
            yield line + tail


def _values(histogram: Histogram, most: int) -> dict[int, list[str]]:
    """The values that stand for the distribution, by the k of their rate 1/2^k.

    They are the middles of shares as great as their weights, which the agent heeds; that of a share
    which holds one of the usual percentiles is this one.
    """
    count = histogram.count
    if not count:
        return {}
    exponents = rates(count, most)
    fractions = _fractions([1 << exponent for exponent in exponents], count)
    found: dict[int, list[str]] = {}
    for exponent, value in zip(exponents, histogram.quantiles(fractions), strict=True):
        text = f"{value:.6f}".rstrip("0").rstrip(".")
        found.setdefault(exponent, []).append(text)
    return found


def _fractions(weights: Sequence[int], count: int) -> list[float]:
    fractions, below = [], 0
    for weight in weights:
        above = below + weight
        usual = [p for p in USUAL_PERCENTILES if weight > 1 and below < p * count <= above]
        fractions.append(usual[0] if usual else (below + weight / 2) / count)
        below = above
    return fractions


def _tag(tag: str, value: str) -> str:
    return f"{tag}:{re.sub(r'[^A-Za-z0-9_.:/-]', '_', value)}"[:LONGEST]


def check_tags(tags: Mapping[str, str]) -> None:
    """Raise ValueError if an agent would not take the tags as they are."""
    for tag, value in tags.items():
        if not TAG.fullmatch(tag):
            raise ValueError(
                f"tag {tag!r} must begin with a letter, and be of letters, digits, _-./"
            )
        if tag in OWN_TAGS:
            raise ValueError(f"tag {tag!r} is one of tach's own: {', '.join(OWN_TAGS)}")
        if not isinstance(value, str) or not TAG_VALUE.fullmatch(value):
            raise ValueError(f"tag {tag!r}: the value {value!r} must be of letters, digits, _-:./")
        if len(tag) + len(value) >= LONGEST:
            raise ValueError(f"tag {tag!r} is too long: at most {LONGEST} bytes with its value")
    if sum(len(tag) + len(value) + 2 for tag, value in tags.items()) > LONGEST_TAGS:
        raise ValueError(f"tags are too long: at most {LONGEST_TAGS} bytes together")
