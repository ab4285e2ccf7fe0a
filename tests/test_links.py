"""The checker of built pages, on pages that are deliberately broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from ternary_lib import links

GOOD = '<!DOCTYPE html><html><body><h1 id="top">T</h1>{}</body></html>'


@pytest.fixture
def site(tmp_path):
    """A site of two good pages, an image and a page of the theme's own."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "x.svg").write_text("<svg/>")
    (tmp_path / "_static" / "theme.html").write_text('<a href="{{ template }}">')
    (tmp_path / "index.html").write_text(GOOD.format('<a href="sub/b.html#top">b</a><img src="_static/x.svg" alt="x">'))
    (tmp_path / "sub" / "b.html").write_text(GOOD.format('<a href="../index.html">up</a>'))
    return tmp_path


def faults_of(site: Path, body: str, offline: bool = True) -> list[str]:
    """The faults after ``body`` was put into a third page."""
    (site / "c.html").write_text(GOOD.format(body), encoding="utf-8")
    return links.check_site(site, offline)


def test_a_good_site_has_no_faults(site):
    assert links.check_site(site) == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="nowhere.html">x</a>', "dead link: nowhere.html"),
        ('<a href="sub/b.html#none">x</a>', "dead anchor: sub/b.html#none"),
        ('<a href="#none">x</a>', "dead anchor: #none"),
        ('<a href="sub">x</a>', "dead link: sub"),
        ('<a href="../outside.html">x</a>', "leads out of the book"),
        ('<a href="/index.html">x</a>', "leads out of the book"),
        ('<a href="htp://example.org/">x</a>', "unknown kind of address"),
        ('<a href="https://">x</a>', "malformed address"),
        ('<a href="https://nohost/x">x</a>', "malformed address"),
        ('<img src="none.png" alt="x">', "dead link: none.png"),
        ('<img srcset="none.png 2x" src="_static/x.svg" alt="x">', "dead link: none.png"),
        ('<img src="_static/x.svg">', "image without alt text"),
        ('<script src="https://cdn.example.org/x.js"></script>', "asked from outside"),
        ('<link href="https://fonts.example.org/x.css">', "asked from outside"),
        ('<script src="//cdn.example.org/x.js"></script>', "asked from outside"),
        ("<p>the bound $$9$$</p>", "raw LaTeX"),
        (r"<p>the bound \frac{1}{2}</p>", "raw LaTeX"),
        (r"<p>the bound \(9\)</p>", "raw LaTeX"),
        ("<p>see {numref}`fig`</p>", "unrendered role"),
        ("<p>:::{note}</p>", "unrendered role"),
        ("<pre>Traceback (most recent call last):</pre>", "an error output"),
        ('<div class="output traceback">x</div>', "an error output"),
        ('<div class="system-message">x</div>', "an error output"),
    ],
)
def test_each_fault_is_found_and_placed(site, body, fault):
    (found,) = faults_of(site, body)
    assert found.startswith("c.html:1: ") and fault in found


@pytest.mark.parametrize(
    "body",
    [
        '<a href="https://example.org/a?b=c#d">x</a>',
        '<a href="mailto:someone@example.org">x</a>',
        '<a href="data:text/csv,a%0A1" download="x.csv">x</a>',
        '<a href="sub/b.html?x=1#top">x</a>',
        '<a href="javascript:void(0)">x</a>',
        r'<div class="math notranslate">\[\frac{1}{2}\]</div>',
        r"<pre>{numref}`fig` and \frac</pre><p>and after</p>",
        r"<script>const a = '\\(';</script>",
        "<p>costs $5, or {a: 1}</p>",
        "<p>one<br>two</p></div><p>an end too many</p>",
        "<div><p>left open<span>twice</div><p>after</p>",
        "<script>if (e) throw 'Traceback (most recent call last)';</script>",
    ],
)
def test_what_is_right_is_left_alone(site, body):
    assert faults_of(site, body) == []


def test_outside_scripts_are_allowed_where_the_book_needs_a_network(site):
    assert faults_of(site, '<script src="https://cdn.example.org/x.js"></script>', offline=False) == []


def test_mathematics_of_a_stand_alone_page_is_no_fault(site):
    (site / "_downloads").mkdir()
    (site / "_downloads" / "x.html").write_text(GOOD.format("$$x$$ <a href='#none'>x</a>"))
    assert links.check_site(site) == ["_downloads/x.html:1: dead anchor: #none"]


def test_an_empty_site_is_a_fault(tmp_path):
    assert links.check_site(tmp_path) == [f"{tmp_path}: no HTML page to check"]


def test_the_command_says_and_returns_what_it_found(site, capsys):
    assert links.main([str(site)]) == 0
    faults_of(site, '<a href="nowhere.html">x</a>')
    assert links.main([str(site)]) == 1 and "nowhere.html" in capsys.readouterr().out
    assert links.main(["no such folder"]) == 2


def test_a_page_may_weigh_two_million_bytes_and_no_more(site):
    (site / "c.html").write_text(GOOD.format(""))
    filler = "x" * (links.LARGEST - (site / "c.html").stat().st_size)
    assert faults_of(site, filler) == []
    assert faults_of(site, filler + "x") == ["c.html: 2,000,001 bytes: a page may have 2,000,000"]
    (site / "_downloads").mkdir()
    (site / "c.html").rename(site / "_downloads" / "c.html")
    assert links.check_site(site) == [], "a page to take away has its own scripts in it"
