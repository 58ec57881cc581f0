from datetime import UTC, datetime
from html.parser import HTMLParser

from pipeline.quality.report import quality_page
from pipeline.quality.run import check_rows

SIX = datetime(2020, 1, 1, 6, tzinfo=UTC)


class Page(HTMLParser):
    """Tags and attributes of a page, and the text of its body."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def page(rows, product, locations) -> Page:
    return Page(quality_page(check_rows(rows, product, locations, now=SIX).report))


def test_the_page_tells_counts_and_reasons(make_rows, product, locations) -> None:
    told = page(make_rows((SIX, "A", 1.0, 1.0), (SIX, "B", 99.0, 1.0)), product, locations)
    text = " ".join(told.text.split())
    assert "Data quality of test" in text
    assert "some rows break an expectation" in text
    assert "given rows 2 accepted rows 1 refused rows 1 collapsed rows 0" in text
    assert "wind_speed … m s-1 is outside 0 to 60 e.g. 99.0 1 broken" in text
    assert text.count("holds") == 8


def test_a_sound_batch_says_so(make_rows, product, locations) -> None:
    assert "every expectation holds" in page(make_rows((SIX, "A", 1.0, 1.0)), product, locations).text


def test_the_page_needs_nothing_else_and_hostile_names_are_inert(make_rows, product, locations) -> None:
    # F37
    hostile = "<script>alert(1)</script>"
    told = page(make_rows((SIX, hostile, 1.0, 1.0)), product, locations)
    assert told.links == []
    assert not {"script", "link", "img", "iframe"} & set(told.tags)
    assert hostile in told.text
