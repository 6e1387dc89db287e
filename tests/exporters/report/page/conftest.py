"""A browser that is shared, and pages opened in it with no network."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

FLAGS = (
    *("--no-sandbox", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--autoplay-policy=no-user-gesture-required"),
)
LOCAL = ("file:", "data:", "blob:")


@dataclass
class Visit:
    """An open page, and what was heard of it."""

    page: "Page"
    complaints: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    def hear(self, request: "Request") -> None:
        """Note what is asked of the network; a page asks nothing."""
        if not request.url.startswith(LOCAL):
            self.fetched.append(request.url)

    def eval(self, script: str, *arguments: Any) -> Any:
        """What a script on the page gives."""
        return self.page.evaluate(script, *arguments)


Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Chromium without a window. Missing it fails under CI, and skips elsewhere.

    Playwright keeps an event loop running while it is open, which no other module's tests should
    find.
    """
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    program = next(filter(None, found), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        said = "pages are not opened: playwright (pip install playwright) or Chromium is missing"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: "Browser", tmp_path: Path) -> Iterator[Open]:
    """Opens HTML from a file, offline. At the end no page may have complained or asked for more."""
    contexts, visits = [], []

    def open_page(html: str, *, width: int = 1280, height: int = 900, **options: Any) -> Visit:
        path = tmp_path / f"page-{len(visits)}.html"
        path.write_text(html, encoding="utf-8")
        size = {"width": width, "height": height}
        context = browser.new_context(viewport=size, offline=True, **options)
        contexts.append(context)
        context.route(lambda url: not url.startswith(LOCAL), lambda route: route.abort())
        made = Visit(context.new_page())
        visits.append(made)
        made.page.set_default_timeout(100_000)  # what is waited for comes, or the test fails
        made.page.on("request", made.hear)
        made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
        made.page.on(
            "console",
            lambda said: (
                made.complaints.append(said.text) if said.type in ("error", "warning") else None
            ),
        )
        made.page.goto(path.as_uri())
        return made

    yield open_page
    for context in contexts:
        context.close()
    assert [made.complaints for made in visits] == [[] for _ in visits]
    assert [made.fetched for made in visits] == [[] for _ in visits]


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Where pictures of pages go: $LIPSTILL_SCREENSHOTS, or a folder that is thrown away."""
    folder = Path(os.environ.get("LIPSTILL_SCREENSHOTS") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
