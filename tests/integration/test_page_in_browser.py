"""The published page in a real browser, without a network and with hostile names."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.steps import mean_length
from tests import jobs
from tests.conftest import ProductHome, Trained

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM.is_file(), reason="needs a browser, /usr/bin/chromium")

FIRE = "top.document.title='fired'"
NAMES = (
    f'<img src="x" onerror="{FIRE}">',
    f"</script><script>{FIRE}</script>",
    f'"><svg onload="{FIRE}">',
    f"javascript:{FIRE}",
)
WRAPPER = """<!doctype html><title>waiting</title><body style="margin:0">
<iframe id="page" style="width:{width}px;height:900px;border:0" srcdoc="{page}"></iframe>
<script>
addEventListener("load", () => {{
  const frame = document.getElementById("page"), root = frame.contentDocument.documentElement;
  const wide = [...root.querySelectorAll("body *")].filter(one => {{
    for (let up = one.parentElement; up; up = up.parentElement)
      if (getComputedStyle(up).overflowX !== "visible") return false;
    return one.getBoundingClientRect().right > {width} + 1;
  }});
  const facts = document.createElement("pre");
  facts.id = "facts";
  facts.textContent = JSON.stringify({{
    width: root.scrollWidth,
    height: root.scrollHeight,
    wide: wide.slice(0, 5).map(one => one.outerHTML.slice(0, 80)),
    charts: root.querySelectorAll("svg").length,
    text: root.innerText.length,
    requests: frame.contentWindow.performance.getEntriesByType("resource").map(one => one.name),
    title: document.title,
  }});
  document.body.append(facts);
}});
</script>"""


def _chromium(folder: Path, *arguments: str) -> str:
    ended = subprocess.run(
        [
            str(CHROMIUM),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={folder / 'profile'}",
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return ended.stdout


def _open(folder: Path, page: str, width: int) -> dict[str, Any]:
    """Return facts about a page that the browser shows in a frame of this width."""
    wrapper = folder / f"wrapper-{width}.html"
    wrapper.write_text(WRAPPER.format(width=width, page=html.escape(page)))
    dom = _chromium(folder, "--window-size=1600,1000", "--dump-dom", wrapper.as_uri())
    found = re.search(r'<pre id="facts">(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[:2000]
    facts: dict[str, Any] = json.loads(html.unescape(found[1]))
    return facts


@pytest.fixture
def page(trained: Trained) -> Path:
    jobs.forecast(trained.workspace, since=trained.end - 9 * mean_length(trained.product.feed.step), at=trained.end)
    jobs.verify(trained.workspace, at=trained.end)
    (result,) = jobs.forecast(trained.workspace, at=trained.end + mean_length(trained.product.feed.step))
    return result.folder / "report.html"


@pytest.fixture
def hostile(fresh: Callable[..., ProductHome]) -> Path:
    """A page whose station names, title and attribution try to run a script; no station has a current value."""
    place = fresh(title=f"<script>{FIRE}</script>", feed={"attribution": f'<a href="javascript:{FIRE}">licence</a>'})
    rows = [f'S{n},"{name.replace(chr(34), chr(34) * 2)}",-{10 - n},5{n}.5' for n, name in enumerate(NAMES)]
    (place.product.folder / "stations.csv").write_text("\n".join(["id,name,longitude,latitude", *rows]) + "\n")
    (result,) = jobs.forecast(place.workspace, at=place.end + 2 * mean_length(place.product.feed.step))
    assert set(result.missing) == {"S0", "S1", "S2", "S3"}
    return result.folder / "report.html"


@pytest.mark.parametrize("width", [1400, 400])
def test_the_page_fits_and_requests_nothing(page: Path, tmp_path: Path, width: int) -> None:
    shown = _open(tmp_path, page.read_text(), width)
    assert shown["width"] <= width
    assert shown["wide"] == []
    assert shown["requests"] == []
    assert shown["charts"] >= 3  # map, fan and skill
    assert shown["text"] > 500


@pytest.mark.parametrize("width", [1400, 400])
def test_the_page_of_a_backtest_fits_and_requests_nothing(
    fresh: Callable[..., ProductHome], tmp_path: Path, width: int
) -> None:
    place = fresh(days=200, title=f"<script>{FIRE}</script>", gate={"issues": 30}, training={"validation": 30})
    step, models = mean_length(place.product.feed.step), ("climatology", "persistence", "damped-anomaly")
    result = jobs.backtest(place.workspace, since=place.end - 20 * step, until=place.end, models=models, at=place.end)
    assert result.folder is not None
    shown = _open(tmp_path, (result.folder / "backtest.html").read_text(), width)
    assert shown["width"] <= width
    assert shown["wide"] == []
    assert (shown["requests"], shown["title"]) == ([], "waiting")
    assert shown["charts"] == 5


@pytest.mark.parametrize("width", [1400, 400])
def test_hostile_names_are_text_and_never_run(hostile: Path, tmp_path: Path, width: int) -> None:
    shown = _open(tmp_path, hostile.read_text(), width)
    assert shown["title"] == "waiting"
    assert shown["requests"] == []
    assert shown["width"] <= width


def test_the_svg_file_is_inert(hostile: Path, tmp_path: Path) -> None:
    picture = hostile.parent / "forecast.svg"
    dom = _chromium(tmp_path, "--dump-dom", picture.as_uri())
    assert "<script" not in dom
    assert not re.search(r"<[^>]*\son\w+=", dom)
    assert _open(tmp_path, picture.read_text(), 1400)["title"] == "waiting"


def test_the_checks_detect_a_bad_page(tmp_path: Path) -> None:
    bad = f'<p>x</p><img src="http://example.org/x.png"><img src="x" onerror="{FIRE}"><div style="width:2000px">w</div>'
    shown = _open(tmp_path, bad, 400)
    assert shown["width"] >= 2000
    assert shown["wide"]
    assert "http://example.org/x.png" in shown["requests"]
    assert shown["title"] == "fired"


def test_a_screenshot_can_be_taken(page: Path, tmp_path: Path) -> None:
    copy = tmp_path / "alone.html"
    shutil.copy(page, copy)  # without the files beside it
    picture = tmp_path / "page.png"
    _chromium(tmp_path, "--window-size=1400,2000", f"--screenshot={picture}", copy.as_uri())
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert picture.stat().st_size > 30_000
