"""The report over scenarios looked at in Chromium: complete, silent, narrow, and on paper."""

from __future__ import annotations

import pytest
from browser import DESK, PHONE, looking_at, overflow
from comparisons import HOSTILE, made_up

from townlet_replay.compare.overall import Overall, Place
from townlet_replay.compare.overall_report import write_overall
from townlet_replay.compare.report import write_report

DRAWN = "html[data-drawn]"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("overall")
    places = [
        Place("green", made_up(scenario="green")),
        Place(HOSTILE, made_up(scenario=HOSTILE)),
        Place("red", made_up(scenario="red")),
        Place("late", None),
        Place("burnt", None, HOSTILE),
    ]
    write_report(places[0].comparison, folder / "green")
    return write_overall(Overall(places), folder)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_it_shows_everything_and_fetches_nothing(browser, page, size):
    with looking_at(browser, page, size) as opened:
        opened.wait_for_selector(DRAWN, state="attached")
        for name in ("verdict", "profile", "each", "scenarios"):
            assert opened.locator(f"#{name} h2").count() == 1, name
            assert opened.locator(f'nav a[href="#{name}"]').count() == 1, name
        holders = opened.locator("[data-chart]")
        # Two forests, improvement, the profile, and a panel per scenario with results.
        assert holders.count() == 7
        assert opened.locator("[data-chart] .main-svg .xaxislayer-above").count() == 7
        assert opened.locator("#scenarios tbody tr").count() == 5
        assert overflow(opened) <= 0
        assert opened.evaluate(
            "[...document.querySelectorAll('[data-chart]')]"
            ".every(h => h.getBoundingClientRect().right <= innerWidth)"
        )


def test_hostile_names_stay_text(browser, page):
    with looking_at(browser, page) as opened:
        opened.wait_for_selector(DRAWN, state="attached")
        assert opened.locator("img").count() == 0
        assert opened.locator("#scenarios td", has_text=HOSTILE).count() == 2
        titles = opened.locator("#each .gtitle").all_text_contents()
        assert titles == ["green", HOSTILE, "red"]


def test_a_scenarios_name_leads_to_its_own_report(browser, page):
    with looking_at(browser, page) as opened:
        links = opened.locator("#scenarios a")
        assert links.count() == 3
        links.first.click()
        opened.wait_for_selector(DRAWN, state="attached")
        assert opened.title() == "Comparison on green"


def test_nothing_but_its_own_scripts_can_run(browser, page):
    said = []
    with looking_at(browser, page, strict=False) as opened:
        opened.on("console", lambda message: said.append(message.text))
        opened.wait_for_selector(DRAWN, state="attached")
        asked = opened.evaluate(
            """() => {
              const own = document.createElement("script");
              own.textContent = "document.title = 'taken over'";
              document.body.append(own);
              return fetch("http://127.0.0.1:9/").then(() => "reached", () => "refused");
            }"""
        )
        assert (asked, opened.title()) == ("refused", "Comparison on 5 scenarios")
    assert any("Executing inline script violates" in text for text in said), said
    assert any("Refused to connect" in text for text in said), said


def test_charts_fit_on_paper(browser, page):
    with looking_at(browser, page) as opened:
        opened.wait_for_selector(DRAWN, state="attached")
        opened.emulate_media(media="print")
        opened.set_viewport_size({"width": 690, "height": 1000})
        opened.evaluate("dispatchEvent(new Event('beforeprint'))")
        opened.wait_for_timeout(300)
        assert overflow(opened) <= 0
        widths = opened.evaluate(
            "[...document.querySelectorAll('[data-chart] .main-svg')]"
            ".map(svg => svg.getBoundingClientRect().right)"
        )
        assert max(widths) <= 690
        assert opened.pdf(format="A4").startswith(b"%PDF")
