"""The files of the page: what is served, with which headers, and that both languages have every word."""

import json
import re
from http import HTTPStatus

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from neuroone.contract.messages import Link
from ws_gateway.http.pages import CLIENTS, PAGE, Pages

LANGUAGES = ("pt-BR", "en")
HOLES = re.compile(r"\{\w+\}")


def words(language: str) -> dict[str, str]:
    loaded = json.loads((PAGE / f"{language}.json").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def get(path: str, **headers: str) -> Response | None:
    return Pages().get(path, Request(path, Headers(headers)))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/student", "text/html; charset=utf-8"),
        ("/page/page.css", "text/css; charset=utf-8"),
        ("/page/main.js", "text/javascript; charset=utf-8"),
        ("/page/pt-BR.json", "application/json"),
        ("/page/icon.svg", "image/svg+xml"),
        ("/page/uplot/uPlot.iife.min.js", "text/javascript; charset=utf-8"),
    ],
)
def test_a_page_has_type_policy_and_etag(path, kind):
    """An unchanged page is not sent again."""
    page = get(path)
    assert page is not None
    assert (page.status_code, page.headers["Content-Type"]) == (HTTPStatus.OK, kind)
    policy = page.headers["Content-Security-Policy"]
    assert re.match(r"default-src 'none'; script-src 'self' 'sha256-[\w+/]{43}='; style-src 'self'; ", policy)
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-cache"
    for asked in (
        {"If-None-Match": f'"other", {page.headers["ETag"]}'},
        {"If-Modified-Since": page.headers["Last-Modified"]},
    ):
        again = get(path, **asked)
        assert again is not None
        assert (again.status_code, again.body) == (HTTPStatus.NOT_MODIFIED, b"")
        assert "Content-Length" not in again.headers
        for name in ("ETag", "Last-Modified", "Cache-Control"):
            assert again.headers[name] == page.headers[name]


@pytest.mark.parametrize("path", ["/page", "/page/", "/page/../pages.py", "/index.html", "/page/uplot/README.md", "/x"])
def test_other_paths_have_no_page(path):
    assert get(path) is None


def test_a_part_of_a_page():
    page, part = get("/"), get("/", Range="bytes=5-9")
    assert page is not None
    assert part is not None
    assert (part.status_code, part.body) == (HTTPStatus.PARTIAL_CONTENT, page.body[5:10])
    assert part.headers["Content-Range"] == f"bytes 5-9/{len(page.body)}"


def test_the_page_serves_the_client_of_this_checkout():
    page = get("/page/neuroone.js")
    assert page is not None
    assert page.body == (CLIENTS / "neuroone.js").read_bytes()
    assert not (PAGE / "neuroone.js").exists()


@pytest.mark.parametrize("path", ["/", "/student", "/page/try.html", "/trust"])
def test_what_loads_a_page_again_comes_with_it(path):
    """As a file it would be lost in the same moment as the others; it stands before all that the page loads."""
    page = get(path)
    assert page is not None
    text = bytes(page.body).decode()
    before, after = text.split((PAGE / "again.js").read_text(encoding="utf-8"))
    assert not re.search(r'(href|src)="', before)
    assert 'src="page/' in after


def test_nothing_is_inline():
    """No script, style or handler in the files: the policy forbids all but the one that the server writes into them."""
    for file in PAGE.glob("*.html"):
        html = file.read_text(encoding="utf-8")
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! (type=\"module\" )?src=)", html)


def test_both_languages_have_every_word():
    """The same keys, the same holes, nothing empty."""
    portuguese, english = map(words, LANGUAGES)
    assert list(portuguese) == list(english)
    for key, text in english.items():
        assert text
        assert portuguese[key]
        assert set(HOLES.findall(text)) == set(HOLES.findall(portuguese[key])), key


def test_a_form_for_one_belongs_to_a_text_that_is_counted():
    """A button's word under such a key would stand where one thing is counted."""
    asking = "".join(file.read_text(encoding="utf-8") for file in [*PAGE.glob("*.html"), *PAGE.glob("*.js")])
    known = words("en")
    for key in (key for key in known if key.endswith(".one")):
        assert key.removesuffix(".one") in known
        assert f'"{key}"' not in asking, f"{key} is a word of its own"


def test_every_link_has_its_hint():
    """A stream that ended in order needs none."""
    hints = {key for key in words("en") if key.startswith("hint.")}
    assert hints == {f"hint.{link}" for link in Link if link is not Link.ENDED}


def test_every_word_that_is_asked_for_is_there():
    """Every key in the HTML and in t("...") has a text, and every text is used."""
    known = words("en")
    html = "".join(file.read_text(encoding="utf-8") for file in PAGE.glob("*.html"))
    code = "".join(file.read_text(encoding="utf-8") for file in PAGE.glob("*.js"))
    asked = set(re.findall(r'data-(?:t|t-label|t-placeholder|title)="([^"]+)"', html))
    asked |= set(re.findall(r'"([a-z_]+(?:\.[a-z_0-9]+)*)"', code)) & set(known)
    asked |= set(re.findall(r'\bt\("([^"]+)"', code))
    made = [f"^{re.escape(part)}" for part in re.findall(r"\bt\(`([^`$]*)\$\{", code) if part]
    made += [r"^(sort|show)\."]
    assert asked - set(known) == set()
    unused = [key for key in known if key.removesuffix(".one") not in asked and not any(re.match(m, key) for m in made)]
    assert unused == []
