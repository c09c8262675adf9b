"""HTML that is escaped unless it is known to be HTML already."""

import html
from collections.abc import Iterable
from typing import Any


class Html(str):
    """Text that is HTML already; every other text is escaped where it is put in."""

    __slots__ = ()


def escaped(value: Any) -> Html:
    """The value as HTML: as it is if it is such, else its text, escaped."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def element(name: str, *children: Any, **attributes: Any) -> Html:
    """An element with its children, and attributes ``aria_label="x"``, ``class_="y"``.

    An attribute that is True has no value; one that is None or False is left out.
    """
    given = {n.rstrip("_").replace("_", "-"): v for n, v in attributes.items()}
    shown = [_attribute(n, v) for n, v in given.items() if v is not None and v is not False]
    inside = joined(children)
    return Html(f"<{''.join([name, *shown])}>{inside}</{name}>")


def joined(parts: Iterable[Any]) -> Html:
    """The parts one after the other."""
    return Html("".join(map(escaped, parts)))


def table(head: Iterable[Any], rows: Iterable[Iterable[Any]], caption: str) -> Html:
    """A table whose first column heads the rows; it scrolls sideways where it is too wide."""
    top = element("tr", *(element("th", each, scope="col") for each in head))
    body = [
        element("tr", element("th", first, scope="row"), *(element("td", x) for x in rest))
        for first, *rest in rows
    ]
    parts = (element("caption", caption), element("thead", top), element("tbody", *body))
    return scrolling(element("table", *parts), caption)


def scrolling(content: Html, label: str) -> Html:
    """What may be wider than the page, in a box that the keyboard can scroll."""
    return element("div", content, class_="wide", role="region", aria_label=label, tabindex=0)


def paragraph(*parts: Any, **attributes: Any) -> Html:
    """A paragraph."""
    return element("p", *parts, **attributes)


def given_the_past(variable: str) -> Html:
    """``p(x_t | x_<t)``."""
    now, past = element("sub", "t"), element("sub", "<t")
    return joined(["p(", variable, now, " | ", variable, past, ")"])


def _attribute(name: str, value: Any) -> str:
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'
