"""Figures as text: one inline SVG whose ink follows the page, and the plotted numbers as CSV."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote


def _shorten(match: re.Match[str]) -> str:
    """Round the coordinates of one attribute to a hundredth of a point."""
    return re.sub(r"-?\d+\.\d{3,}", lambda n: f"{float(n.group()):.2f}".rstrip("0").rstrip("."), match.group())


def to_svg(fig: Any, name: str) -> tuple[str, float, float]:
    """Draw `fig` as one SVG element and give it with its width and height in CSS pixels.

    Black ink is written as `currentColor`, ids carry `name`, and nothing depends on the date: the same figure gives the
    same bytes.
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        fig.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.04, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.S)
    text = re.sub(r"<defs>\s*</defs>", "", text)
    text = text.replace("#000000", "currentColor")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:href="|url\()#', rf"\g<1>#{name}-", text)
    text = re.sub(r'(?<=\s)(?:d|x|y|width|height)="[^"]*"', _shorten, text)
    text = re.sub(r"\s*\n\s*", " ", text)
    left, top, width, height = (float(v) for v in re.search(r'viewBox="([^"]+)"', text).group(1).split())
    root = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        f' viewBox="{left:g} {top:g} {width:g} {height:g}"'
        ' fill="currentColor" stroke-linejoin="round" stroke-linecap="butt">'
    )
    return root + text[text.index(">") + 1 :].strip(), width * 4 / 3, height * 4 / 3


def standalone(svg: str, width: float, height: float) -> str:
    """Make the downloaded file: the same drawing in black on a white ground."""
    view = re.search(r'viewBox="(\S+) (\S+) ', svg)
    ground = f'<rect x="{view.group(1)}" y="{view.group(2)}" width="100%" height="100%" fill="white"/>'
    head, body = svg.split(">", 1)
    return f'{head} width="{width:.0f}" height="{height:.0f}">{ground}{body}'


def to_csv(data: Mapping[str, Iterable] | Sequence[Mapping[str, Any]] | Any) -> str:
    """Write columns (a mapping of lists), rows (a sequence of mappings) or a data frame as CSV text.

    >>> to_csv({"epoch": [0, 1], "rho": [0.1]})
    'epoch,rho\\n0,0.1\\n1,\\n'
    """
    if hasattr(data, "to_dict"):
        data = data.to_dict("list")
    if isinstance(data, Mapping):
        heads, rows = list(data), itertools.zip_longest(*data.values(), fillvalue="")
    else:
        heads = list(dict.fromkeys(key for row in data for key in row))
        rows = ([row.get(key, "") for key in heads] for row in data)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(heads)
    for row in rows:
        plain = (v.item() if getattr(v, "ndim", None) == 0 else v for v in row)
        writer.writerow([format(v, ".10g") if isinstance(v, float) else v for v in plain])
    return buffer.getvalue()


def data_uri(kind: str, text: str) -> str:
    """Write `text` as a `data:` address that stays legible and compresses well.

    >>> data_uri("text/csv", "a,b")
    'data:text/csv,a,b'
    """
    return f"data:{kind}," + quote(text, safe="/:;=,()'!*+-._~@?$ ")
