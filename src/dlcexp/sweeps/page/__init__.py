"""The template, style and script of `report.html`."""
