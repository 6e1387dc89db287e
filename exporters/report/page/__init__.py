"""``report.html``: one page, readable without a network, from which people choose a tier."""
