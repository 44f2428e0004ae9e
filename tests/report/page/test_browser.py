"""The page in a browser: opened from a file, with mouse and keyboard, in both themes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.figures.stores import Sweep, make_store
from tests.report.page.stores import FAILED, HOSTILE, SWEEP, large_store, store_with_failures
from tests.store.builders import LATE
from w2s_ray.report import open_results
from w2s_ray.report.figures.theme import config
from w2s_ray.report.page import page_content, to_html
from w2s_ray.store import Cell

pytest.importorskip("selenium", reason="needs selenium, of the dev dependencies")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.report.page import browser

ROW = "#pgr tr.row"
MARKS = "#charts figure:not([hidden]) svg :is(.mark-symbol, .mark-rect) path"


@pytest.fixture(scope="module")
def driver() -> Iterator[browser.webdriver.Chrome]:
    driver = browser.start()
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    store = store_with_failures(folder / "results")
    path = folder / "report.html"
    path.write_text(to_html(page_content(open_results(store.uri))), encoding="utf-8")
    return path


@pytest.fixture
def page(driver, file) -> Iterator[browser.Page]:
    page = browser.Page(driver, file)
    yield page
    assert page.errors() == []
    assert page.requested() == [file.as_uri()]
    assert page.run("return window.hurt ?? null") is None
    page.emulate()
    page.resize(1280, 900)


def column(page: browser.Page, name: str) -> list[str]:
    return page.texts(f"{ROW} > .{name}")


def press_header(page: browser.Page, name: str) -> str:
    """Press the column's header, and return its `aria-sort` afterwards."""
    page.one(f'#pgr th[data-column="{name}"] button').click()
    return page.one(f'#pgr th[data-column="{name}"]').get_attribute("aria-sort")


def test_the_page_shows_every_row_and_every_figure(page):
    rows = len(SWEEP.tasks) * len(SWEEP.pairs) * len(SWEEP.methods) + 2
    assert len(page.all(ROW)) == rows
    assert page.one("#count").text == f"{rows} of {rows} rows"
    figures = page.run("return CONTENT.sweeps[0].figures.length")
    assert (
        len(page.all("#charts figure")) == len(page.all("#charts figure svg.marks")) == figures > 0
    )


def test_the_table_sorts_by_click_both_ways_and_back(page):
    before = column(page, "pgr .value")
    assert press_header(page, "pgr") == "descending"
    shown = column(page, "pgr .value")
    numbers = [float(text.replace("−", "-")) for text in shown if text[0] not in "–≈"]
    assert numbers == sorted(numbers, reverse=True)
    without = [text[0] in "–≈" for text in shown]
    assert without == sorted(without)
    assert press_header(page, "pgr") == "ascending"
    assert [text[0] in "–≈" for text in column(page, "pgr .value")] == without
    assert press_header(page, "pgr") == "none"
    assert column(page, "pgr .value") == before


def test_the_table_sorts_by_keyboard_and_the_focus_stays(page):
    page.tab_to('#pgr th[data-column="task"] button')
    page.press(Keys.ENTER)
    assert column(page, "task") == sorted(column(page, "task"))
    page.press(Keys.SPACE)
    assert column(page, "task") == sorted(column(page, "task"), reverse=True)
    assert page.focused().text == "Task"


def test_a_filter_applies_to_table_and_figures_and_can_be_reset(page):
    rows, marks = len(page.all(ROW)), len(page.all(MARKS))
    page.one("#filters [name=task]").send_keys("sciq")
    page.wait_for_figures()
    assert set(column(page, "task")) == {"sciq"}
    few = len(page.all(MARKS))
    assert 0 < few < marks
    page.one("#filters [name=method]").send_keys("naive")
    page.wait_for_figures()
    assert len(page.all(ROW)) == len(SWEEP.pairs)
    assert 0 < len(page.all(MARKS)) < few
    page.one("#filters button[type=reset]").click()
    page.wait_for_figures()
    assert (len(page.all(ROW)), len(page.all(MARKS))) == (rows, marks)


def test_the_text_filter_may_match_some_rows_or_none(page):
    page.one("#filters [name=text]").send_keys("CONF small")
    page.wait_for_figures()
    assert set(column(page, "method")) == {"confidence"}
    page.one("#filters [name=text]").send_keys(" nowhere")
    page.wait_for_figures()
    assert page.all(ROW) == []
    assert "No row matches" in page.one("#pgr").text
    assert page.all(MARKS) == []
    assert "no data for this filter" in page.one("#figures-left-out").text


def test_trials_for_supervisors_are_drawn_without_a_filter(driver, tmp_path):
    """Their figures are of no method of the table."""
    store = make_store(tmp_path / "store", Sweep(searched="confidence", seeds=(0,)))
    manifest = store.manifests.latest("sweep")
    study = next(cell.study for cell in manifest.cells if cell.study)
    changes = {"study": None, "supervisor_study": study, "objective": "none"}
    cells = tuple(Cell(**{**cell.model_dump(), **changes}) for cell in manifest.cells)
    store.manifests.write(manifest.model_copy(update={"cells": cells, "created_at": LATE}))
    file = tmp_path / "page.html"
    file.write_text(to_html(page_content(open_results(store.uri))), encoding="utf-8")
    page = browser.Page(driver, file)
    titles = [figure.text for figure in page.all("#figures figure h3")]
    assert "Trials of the search of supervisor" in titles
    assert page.one("#figures-left-out").text == ""


def test_a_run_opens_and_closes_by_keyboard(page):
    page.tab_to("#pgr button.open")
    page.press(Keys.ENTER)
    assert page.focused().get_attribute("aria-expanded") == "true"
    link = page.tab_to("#pgr table.inner a")
    name = link.get_attribute("aria-label")
    page.press(Keys.ENTER)
    page.wait(lambda: page.run("return document.querySelector('#run').dataset.drawn") == "all")
    assert page.one("#run").get_attribute("open") is not None
    assert "supervisor" in page.one("#run-title").text
    assert "training.lr" in page.texts("#run dt")
    assert len(page.all("#run .chart svg .mark-line path")) >= 4
    page.press(Keys.ESCAPE)
    page.wait(lambda: page.one("#run").get_attribute("open") is None)
    assert page.focused().get_attribute("aria-label") == name
    assert "#run" not in page.driver.current_url


def test_a_mark_has_a_tooltip_and_opens_its_row(page):
    mark = page.one("#figure-accuracy svg .mark-symbol path")
    page.run("arguments[0].scrollIntoView({block: 'center'})", mark)
    ActionChains(page.driver).move_to_element(mark).perform()
    page.wait(lambda: page.one("#tip").is_displayed())
    tooltip = dict(zip(page.texts("#tip dt"), page.texts("#tip dd"), strict=True))
    assert "null" not in tooltip.values()
    ActionChains(page.driver).click().perform()
    page.wait(lambda: page.all("#pgr button.open[aria-expanded=true]"))
    assert page.focused().get_attribute("aria-label") == (
        f"Seeds of {tooltip['task']}, {tooltip['pair']}, {tooltip['method']}"
    )


def test_an_address_opens_a_failed_run_with_its_reason_and_attempts(page, file):
    page.run("location.hash = arguments[0]", f"run={FAILED}")
    page.wait(lambda: page.one("#run").get_attribute("open") is not None)
    text = " ".join(page.one("#run").text.split())
    assert f"failed error: {' '.join(HOSTILE.split())}" in text
    assert "Tried 2 times; tried again after worker_died 1" in text
    assert "the process is gone" in text
    page.one("#run header button").click()
    assert page.one("#run").get_attribute("open") is None


def test_an_address_without_a_run_opens_nothing(page):
    for name in ("constructor", "__proto__", "nothing", "%", "<b>"):
        page.run("location.hash = arguments[0]", f"run={name}")
        page.run("dispatchEvent(new HashChangeEvent('hashchange'))")
    assert page.one("#run").get_attribute("open") is None


def test_a_study_shows_its_trials_and_links_to_their_fits(page):
    study = page.run("return CONTENT.sweeps[0].runs.find(r => r.roles.includes('study')).id")
    page.run("location.hash = arguments[0]", f"run={study}")
    page.wait(lambda: page.one("#run").get_attribute("open") is not None)
    assert len(page.all("#run table.inner tbody tr")) == 7
    assert "chosen" in page.one("#run tr.winner").text
    page.all("#run table.inner a")[-1].click()
    page.wait(lambda: "trial" in page.one("#run-title").text)


def test_failed_and_missing_runs_are_listed_with_the_reason(page):
    text = page.one("#missing").text
    assert "Failed runs (1)" in text
    assert "student not run" in text
    assert page.one(f'#missing a[href="#run={FAILED}"]').is_displayed()


def test_the_data_of_each_task_are_shown_with_first_rows(page):
    assert page.texts("#data table:first-child tbody tr td:first-child")[:2] == list(SWEEP.tasks)
    for summary in page.all("#data details > summary"):
        summary.click()
    shown = page.texts("#data pre.text")
    assert [text.startswith(HOSTILE) for text in shown] == [True] * 8
    assert "no baselines: there are no training rows" in page.one("#data").text.lower()
    page.resize(800, 900)
    assert page.run("return document.documentElement.scrollWidth") <= 800


def test_the_page_has_the_text_of_the_sweep_file(page):
    text = page.run("return document.querySelector('#sweep-text').textContent")
    assert text == f"name: sweep\n# {HOSTILE}\u2028\n"


def test_differences_between_environments_are_shown(page):
    text = page.one("#environment").text
    assert "Runs differ in torch." in text
    assert "1.0 in 1 run" in text
    assert HOSTILE in text


def test_both_themes_apply_to_page_and_figures(page):
    def colours() -> list[str]:
        return page.run(
            "const of = (s, p) => getComputedStyle(document.querySelector(s))[p];"
            "return [of('body', 'backgroundColor'), of('body', 'color'),"
            " of('#charts svg .role-axis-title text', 'fill')]"
        )

    page.emulate(prefers_color_scheme="dark")
    page.wait_for_figures()
    dark = colours()
    page.one("#theme").click()
    page.wait_for_figures()
    light = colours()
    assert all(a != b for a, b in zip(dark, light, strict=True))
    page.emulate(prefers_color_scheme="light")
    page.wait_for_figures()
    assert colours() == light


def test_on_a_phone_the_page_is_not_wider_than_the_screen(page):
    page.resize(360, 740)
    page.run("document.querySelector('#pgr button.open').click()")
    assert page.run("return document.documentElement.scrollWidth") <= 360


def test_every_control_has_a_name(page):
    nameless = page.run(
        "return [...document.querySelectorAll('a, button, select, input, summary')]"
        ".filter(e => !(e.textContent.trim() || e.ariaLabel || e.labels?.length || e.title))"
        ".map(e => e.outerHTML)"
    )
    assert nameless == []


@pytest.mark.slow
def test_a_page_of_a_thousand_runs_has_less_than_10_mb(driver, tmp_path):
    store = large_store(tmp_path / "results", seeds=7)
    content = page_content(open_results(store.uri))
    assert len(content["runs"]) == 1050
    path = tmp_path / "report.html"
    path.write_text(to_html(content), encoding="utf-8")
    assert path.stat().st_size < 10e6
    page = browser.Page(driver, path)
    assert len(page.all(ROW)) == 120
    assert page.errors() == []


def boxes(page: browser.Page, selector: str) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of each element."""
    return page.run(
        "return [...document.querySelectorAll(arguments[0])].map(e => e.getBoundingClientRect())"
        ".map(r => [r.left, r.top, r.right, r.bottom])",
        selector,
    )


def overlaps(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether two boxes share more than a pixel."""
    across, down = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    return across > 1 and down > 1


def test_the_titles_of_panels_do_not_overlap(page):
    for name in page.run("return CONTENT.sweeps[0].figures.map(f => f.name)"):
        figure = page.run("return figureId(arguments[0])", name)
        titles = boxes(page, f"#{figure} :is(.row_header, .column_header) text")
        for i, one in enumerate(titles):
            assert not any(overlaps(one, other) for other in titles[i + 1 :]), name


def test_pgr_is_inside_the_window_at_every_width(page):
    for width in (720, 800, 1000, 1100, 1280, 1400):
        page.resize(width, 900)
        assert all(right <= width for _, _, right, _ in boxes(page, "#pgr .pgr")), width
        assert page.run("return document.documentElement.scrollWidth") <= width


def test_paper_has_every_figure_in_the_light_theme(page):
    """Printed while nothing is drawn yet, from the dark theme; what a later listener finds."""
    page.emulate(prefers_color_scheme="dark")
    page.run(
        "++drawing; delete document.body.dataset.drawn;"
        "document.querySelectorAll('.chart').forEach(e => e.replaceChildren());"
        "addEventListener('beforeprint', () => { window.printed = ["
        " document.querySelectorAll('#charts figure svg.marks').length,"
        " document.querySelector('#charts .role-axis-title text').getAttribute('fill')]; },"
        " {once: true})"
    )
    page.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    count, colour = page.run("return window.printed")
    assert count == page.run("return CONTENT.sweeps[0].figures.length") > 0
    assert colour == config("light")["axis"]["titleColor"]
    page.wait_for_figures()
    assert "dark" in page.run("return document.documentElement.dataset.theme")


def test_test_rows_are_filtered_by_the_table_s_filter_and_by_pattern(page):
    rows = "#test-row-list tbody tr"
    assert len(page.all(rows)) == 25
    page.one("#test-row-list button").click()
    assert len(page.all(rows)) > 25
    page.run(
        "$('pattern').value = '011'; $('pattern').dispatchEvent(new Event('input'));"
        "$('filters').elements.task.value = 'sciq'; applyFilters()"
    )
    page.wait_for_figures()
    found = page.texts(rows)
    assert found
    assert all("sciq text" in text for text in found)
    for i, model in enumerate(("supervisor", "student", "ceiling")):
        said = page.texts(f'#test-row-list td[data-name="{model}"] .range')
        assert set(said) == {"wrong" if i == 0 else "right"}


def test_the_summary_counts_fits_and_says_which_are_reused(page):
    text = page.one("#lead").text
    fits = page.run("return state.sweep.runs.filter(r => !r.roles.includes('study')).length")
    assert f"{fits} fits, including" in text
    assert "First started 1 January 2026, 00:00 UTC, last result 2 January 2026" in text
    page.run(
        "state.sweep.started_at = '2026-01-03T00:00:00Z';"
        "for (const run of state.sweep.runs) run.reused = runOf(run.id)?.status === 'done';"
        "drawSummary()"
    )
    text = page.one("#lead").text
    assert "(all reused: done before this sweep first started)" in text
