"""The page of results: sections with a table each, their charts, and the machine."""

import dataclasses
import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.measure import Spread

_PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "numpy", "scikit-learn", "grpcio")


@dataclass
class Section:
    """What one benchmark found.

    Attributes:
        name: Of the benchmark, and of its chart.
        title: A heading.
        text: What was measured, and how; a paragraph.
        header: Of the table.
        rows: Of the table.
        bars: Of the chart, if there is one: a label and its spread.
        axis: What the bars show, with its unit.
        verbatim: What to show as it was printed, such as the message of a failure.
        notes: What else a reader should know, a line each.
    """

    name: str
    title: str
    text: str
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    bars: Sequence[tuple[str, Spread]] = ()
    axis: str = ""
    verbatim: str = ""
    notes: list[str] = field(default_factory=list)

    @classmethod
    def from_json(cls, text: str) -> "Section":
        """What :meth:`json` gave, in another process."""
        values = json.loads(text)
        values["bars"] = [(label, Spread(**spread)) for label, spread in values["bars"]]
        return cls(**values)

    def json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", self.text, ""]
        if self.header:
            lines += [_line(self.header), _line("---" for _ in self.header)]
            lines += [*map(_line, self.rows), ""]
        if self.verbatim:
            lines += ["```", self.verbatim.rstrip(), "```", ""]
        lines += [f"- {note}" for note in self.notes]
        return "\n".join(lines).rstrip() + "\n"

    def draw(self, path: Path) -> None:
        """Draws the bars into an SVG file: medians, with a line from the smallest to the largest."""
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        style: dict[Any, Any] = {
            "svg.hashsalt": self.name,
            "svg.fonttype": "none",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
        with rc_context(style):
            figure = Figure((7, 0.6 + 0.36 * len(self.bars)), layout="constrained")
            FigureCanvasSVG(figure)
            axes = figure.add_subplot()
            spreads = [spread for _, spread in self.bars]
            axes.barh(
                [label for label, _ in self.bars],
                [spread.median for spread in spreads],
                xerr=(
                    [spread.median - spread.low for spread in spreads],
                    [spread.high - spread.median for spread in spreads],
                ),
                color=["#1a73e8" if "kmnist" in label else "#9aa0a6" for label, _ in self.bars],
                ecolor="#3c4043",
            )
            for row, spread in enumerate(spreads):
                axes.annotate(
                    f"{spread.median:.3g}",
                    (spread.high, row),
                    xytext=(4, 0),
                    textcoords="offset points",
                    va="center",
                )
            axes.invert_yaxis()
            axes.set_xlabel(self.axis)
            axes.margins(x=0.08)
            figure.savefig(path, format="svg", metadata={"Date": None})


@dataclass(frozen=True)
class Comparison:
    """What ours took and what another took, round by round, and the most the ratio may be.

    Attributes:
        what: What both did.
        beside: What the other is.
        unit: Of the figures.
        ours: A figure a round.
        theirs: Its counterpart.
        at_most: What the median ratio has to stay under.
    """

    HEADER: ClassVar = ("what", "ours / the other", "at most", "ours", "the other", "the other is")

    what: str
    beside: str
    unit: str
    ours: list[float]
    theirs: list[float]
    at_most: float

    @property
    def ratio(self) -> Spread:
        return Spread.of([a / b for a, b in zip(self.ours, self.theirs, strict=True)])

    @property
    def share(self) -> Spread:
        """The ratio, in units of the most it may be."""
        ratio = self.ratio
        return Spread(*(each / self.at_most for each in (ratio.low, ratio.median, ratio.high)))

    def row(self) -> list[str]:
        missed = ", **missed**" if self.ratio.median > self.at_most else ""
        return [
            self.what,
            str(self.ratio),
            f"{self.at_most:.3g}{missed}",
            f"{Spread.of(self.ours)} {self.unit}",
            f"{Spread.of(self.theirs)} {self.unit}",
            self.beside,
        ]


def write(sections: Iterable[Section], folder: Path, *, quick: bool) -> Path:
    """Writes ``RESULTS.md`` and ``charts/*.svg`` into ``folder``."""
    (folder / "charts").mkdir(parents=True, exist_ok=True)
    parts = ["# Results\n", machine(quick=quick)]
    for section in sections:
        parts.append(section.markdown())
        if section.bars:
            image = f"charts/{section.name}.svg"
            section.draw(folder / image)
            parts.append(f"![{section.title}]({image})\n")
    page = folder / "RESULTS.md"
    page.write_text("\n".join(parts), "utf-8")
    return page


def machine(*, quick: bool) -> str:
    """What it ran on, in a paragraph that names no host and no path."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    text = (
        "Written by `python -m benchmarks`"
        + (" with `--quick`: too few rounds to quote." if quick else ".")
        + " What is compared was run in turn, each run in a process of its own unless a section "
        "says otherwise. A figure is the median of the rounds, with the smallest and the largest "
        "in brackets; a ratio is taken round by round.\n\n"
        f"Machine: {_processor()}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB memory, "
        f"{platform.system()} {platform.release()}; load {os.getloadavg()[2]:.1f} over the last "
        f"15 minutes. Python {platform.python_version()}, {packages}."
    )
    return text + "\n"


def package_version(python: str, name: str) -> str | None:
    """The version of a package in the environment of ``python``; None if it is not there."""
    found = subprocess.run(
        [python, "-c", f"from importlib.metadata import version; print(version({name!r}))"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() if found.returncode == 0 else None


def megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f} MB" if math.isfinite(size) else "–"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
