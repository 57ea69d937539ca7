"""The report in a real browser, at a desk's width and a phone's; collected where chromium is installed."""

import json
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from qwenkit.evaluation.report import render_report

# A page around the report that measures it: the report itself runs no script.
FRAME = """<!doctype html><title>waiting</title>
<iframe id="report" src="report.html" width="{width}" height="900"></iframe>
<script>
document.getElementById("report").onload = function () {{
  const page = this.contentDocument, root = page.documentElement;
  const images = [...page.images];
  const luminance = text => {{
    const [r, g, b] = text.match(/[0-9.]+/g).map(Number).map(
      value => value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }};
  const background = element => {{
    for (let one = element; one; one = one.parentElement) {{
      const colour = getComputedStyle(one).backgroundColor;
      if (!colour.startsWith("rgba")) return colour;
    }}
    return "rgb(255, 255, 255)";
  }};
  const texts = [...page.querySelectorAll("p, td, th, figcaption, a, dt, dd, h1, h2, caption")];
  const contrasts = texts.map(element => {{
    const pair = [getComputedStyle(element).color, background(element)].map(luminance).sort((a, b) => b - a);
    return (pair[0] + 0.05) / (pair[1] + 0.05);
  }});
  document.title = JSON.stringify({{
    width: root.clientWidth, needed: root.scrollWidth, lowestContrast: Math.min(...contrasts),
    images: images.length, loaded: images.filter(image => image.complete && image.naturalWidth > 0).length,
    cut: [...page.querySelectorAll("p, h1, h2, figcaption, dd")].filter(
      element => element.scrollWidth > element.clientWidth + 1).length,
    page: getComputedStyle(page.body).backgroundColor,
  }});
}};
</script>"""


def open_in_browser(folder, html, *, width, dark):
    """Open the report in a frame of that width; give what it measured, and the browser's complaints."""
    (folder / "report.html").write_text(html, encoding="utf-8")
    (folder / "frame.html").write_text(FRAME.format(width=width), encoding="utf-8")
    colours = "--blink-settings=preferredColorScheme=" + ("0" if dark else "1")
    command = [shutil.which("chromium"), "--headless", "--no-sandbox", "--disable-gpu", colours]
    command += ["--allow-file-access-from-files", "--virtual-time-budget=8000", "--enable-logging=stderr"]
    command += [f"--user-data-dir={folder / 'profile'}", "--dump-dom", f"file://{folder / 'frame.html'}"]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(.*?)</title>", printed.stdout, flags=re.S).group(1)
    assert title != "waiting", printed.stderr[-2000:]
    return json.loads(title.replace("&quot;", '"')), printed.stderr


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_the_report_fits_loads_and_can_be_read(tmp_path, full_context, width, dark):
    long_names = replace(full_context, title="a-name-without-any-place-to-break-" * 4, notes=["word " * 80])
    measured, complaints = open_in_browser(tmp_path, render_report(long_names), width=width, dark=dark)
    assert measured["width"] == pytest.approx(width, abs=20)  # a scroll bar
    assert measured["needed"] <= measured["width"]
    assert measured["cut"] == 0
    assert measured["page"] == ("rgb(18, 22, 28)" if dark else "rgb(246, 247, 249)")
    assert measured["images"] == measured["loaded"] == 10
    # WCAG 2.2, level AA, for text of any size.
    assert measured["lowestContrast"] >= 4.5
    assert "Refused to" not in complaints and "violates the following" not in complaints
