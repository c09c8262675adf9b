"""The page: one HTML file that asks nothing of the outside."""

import dataclasses
import importlib.resources
from collections.abc import Sequence

from nlf_jax.report.figures import Figure
from nlf_jax.report.html import Html, element, joined, paragraph

# The browser refuses whatever is not in the file, should a text ever get past the escaping.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: its heading.
        body: what is under it.
        figures: those in it, to be written as files too.
    """

    title: str
    body: Html
    figures: tuple[Figure, ...] = ()

    @property
    def anchor(self) -> str:
        """Its id in the page."""
        return "-".join(self.title.lower().split())


def left_out(title: str, reason: str) -> Section:
    """A section that can't be made, with a sentence that says why."""
    return Section(title, paragraph(f"Left out: {reason.rstrip('.')}.", class_="lead"))


def render(title: str, head: Html, sections: Sequence[Section]) -> str:
    """The whole file."""
    links = [element("li", element("a", s.title, href=f"#{s.anchor}")) for s in sections]
    contents = element("nav", element("ul", *links), aria_label="Contents")
    parts = [
        element("section", element("h2", s.title, id=s.anchor), s.body, aria_labelledby=s.anchor)
        for s in sections
    ]
    body = element("main", element("header", element("h1", title), head), contents, *parts)
    script = element("script", _source("player.js"))
    return "<!doctype html>\n" + element(
        "html", _head(title), element("body", body, script), lang="en"
    )


def _head(title: str) -> Html:
    metas = [
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
    ]
    icon = '<link rel="icon" href="data:,">'
    parts = [Html("".join(metas)), element("title", title), Html(icon)]
    return element("head", joined(parts), element("style", _source("page.css")))


def _source(name: str) -> Html:
    return Html(importlib.resources.files("nlf_jax.report").joinpath(name).read_text("utf-8"))
