"""``report.html``: one page, readable without a network, from which people choose a tier."""

from exporters.report.page.html import to_page

__all__ = ["to_page"]
