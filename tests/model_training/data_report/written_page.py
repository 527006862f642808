"""A data report written as a page, and what stands on it."""

from html.parser import HTMLParser

from model_training.data_report.counts import data_report
from model_training.data_report.page import save_html
from model_training.sources.problems import Problems


class Page(HTMLParser):
    """What a page refers to, and its text."""

    def __init__(self, path):
        super().__init__()
        self.references, self.words, self.open = [], [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        self.references += [value for name, value in attributes if name in ("src", "href", "srcset")]
        self.open += [tag] if tag not in ("meta", "img", "source") else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def page_of(table, path, problems=None):
    save_html(data_report(table, problems or Problems()), table, path)
    return Page(path)
