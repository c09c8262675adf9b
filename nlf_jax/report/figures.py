"""Figures: drawn once, shown inside the page in its colours, and written as PNG and SVG."""

import contextlib
import dataclasses
import io
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlf_jax.errors import UserError
from nlf_jax.report.html import Html, element, scrolling

if TYPE_CHECKING:
    import matplotlib.figure

# Each is what the light page has for the variable of page.css; the dark page has others.
INK, MUTED, LINE, PAPER = "#1b2027", "#59626e", "#d5dae1", "#fdfdfc"
BLUE, ORANGE, GREEN = "#1c5cc0", "#ab4a07", "#0d6e3c"
_VARIABLES = {
    INK: "ink", MUTED: "muted", LINE: "line", PAPER: "paper",
    BLUE: "blue", ORANGE: "orange", GREEN: "green",
}  # fmt: skip
WIDTH, HEIGHT = 3.7, 2.5
_DOTS_PER_INCH = 300
_COLUMNS = 4
# What is wider than the page scrolls, so it need not be small.
_MAGNIFIED = 1.2
_STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "nlf", "text.parse_math": False,
    "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "xtick.labelsize": 8,
    "ytick.labelsize": 8, "axes.titlelocation": "left", "axes.spines.top": False,
    "axes.spines.right": False, "text.color": INK, "axes.labelcolor": INK, "axes.titlecolor": INK,
    "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.edgecolor": MUTED, "axes.facecolor": "none", "figure.facecolor": "none",
    "savefig.facecolor": "none", "grid.color": LINE, "lines.linewidth": 1.6,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Panel:
    """A picture.

    Attributes:
        draw: draws it on an empty figure of matplotlib, or a part of one.
        alt: what it shows, in words.
        size: width and height, inches.
    """

    draw: Callable[[Any], None]
    alt: str
    size: tuple[float, float] = (WIDTH, HEIGHT)


@dataclasses.dataclass(frozen=True)
class Figure:
    """Pictures that belong together, with a caption.

    Attributes:
        name: of its files, and of what it is made of in the page.
        caption: text, or HTML.
        panels: its pictures.
    """

    name: str
    caption: str
    panels: tuple[Panel, ...]

    def html(self) -> Html:
        """The figure for the page."""
        pictures = [inline(each, f"{self.name}-{n}") for n, each in enumerate(self.panels)]
        inside = element("div", *pictures, class_="panels") if len(pictures) > 1 else pictures[0]
        return element("figure", inside, element("figcaption", self.caption))

    def save(self, directory: Path) -> list[Path]:
        """Writes <name>.png and <name>.svg, all panels in one picture, on white.

        Raises:
            UserError: they cannot be written.
        """
        paths = [directory / f"{self.name}.{suffix}" for suffix in ("png", "svg")]
        with _style():
            drawn = self._together()
            try:
                directory.mkdir(parents=True, exist_ok=True)
                for path in paths:
                    drawn.savefig(
                        path, dpi=_DOTS_PER_INCH, facecolor="white", metadata=_nothing(path)
                    )
            except OSError as error:
                raise UserError(
                    f"cannot write to {directory}: {error.strerror or error}."
                ) from error
        return paths

    def _together(self) -> "matplotlib.figure.Figure":
        columns = min(_COLUMNS, len(self.panels))
        rows = -(-len(self.panels) // columns)
        width, height = self.panels[0].size
        drawn = _empty(columns * width, rows * height)
        parts = drawn.subfigures(rows, columns, squeeze=False).flat
        for panel, part in zip(self.panels, parts, strict=False):
            panel.draw(part)
        return drawn


def inline(panel: Panel, name: str) -> Html:
    """The panel as SVG in the colours of the page; what is wide scrolls.

    Args:
        name: unlike that of every other picture of the page.
    """
    with _style():
        drawn = _empty(*panel.size)
        panel.draw(drawn)
        buffer = io.StringIO()
        drawn.savefig(buffer, format="svg", metadata=_nothing(Path(".svg")))
    svg = _embedded(buffer.getvalue(), panel, name)
    return scrolling(svg, panel.alt) if panel.size[0] > WIDTH + 1 else svg


def titled(figure: Any, text: str) -> None:
    """A title over all of a figure, from its left edge on."""
    figure.suptitle(text, x=0.01, ha="left", fontsize="medium")


def direct_label(axes: Any, x: float, y: float, text: str, colour: str) -> None:
    """A line's name right of its end."""
    axes.annotate(
        text, (x, y), (4, 0), textcoords="offset points", color=colour, va="center",
        annotation_clip=False,
    )  # fmt: skip


def _embedded(svg: str, panel: Panel, name: str) -> Html:
    """What is inside of a file's svg element, in one whose ids are no other picture's."""
    width, height = (72 * inches for inches in panel.size)
    content = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    content = re.sub(
        r"<!--.*?-->|<metadata>.*?</metadata>|<style .*?</style>", "", content, flags=re.S
    )
    content = re.sub(r"<[^>]*>", lambda tag: _own(tag[0], name), content)
    natural = f"width:{_MAGNIFIED * panel.size[0]:.2f}in" if panel.size[0] > WIDTH + 1 else None
    box = {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "style": natural}
    return element("svg", Html(content), aria_label=panel.alt, **box)


def _own(tag: str, name: str) -> str:
    """A tag with ids of this picture, the page's colours and fewer digits."""
    tag = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", tag)
    for colour, variable in _VARIABLES.items():
        tag = tag.replace(colour, f"var(--{variable})")
    return re.sub(r"(\d\.\d\d)\d+", r"\1", tag)


def _empty(width: float, height: float) -> "matplotlib.figure.Figure":
    from matplotlib.figure import Figure as Drawn

    return Drawn(figsize=(width, height), layout="constrained")


def _nothing(path: Path) -> dict[str, None]:
    """No date, so that the same picture is the same file."""
    names = ("Creator", "Date", "Format", "Type") if path.name.endswith("svg") else ("Software",)
    return dict.fromkeys(names)


@contextlib.contextmanager
def _style() -> Iterator[None]:
    # Imported late, as it takes a while.
    import matplotlib as mpl

    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # A symbol that matplotlib's font has not got; the page has the reader's fonts.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        # Axes at fixed places need no layout.
        warnings.filterwarnings("ignore", "There are no gridspecs", UserWarning)
        yield
