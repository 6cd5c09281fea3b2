"""Pages of results: one HTML file each, with all it needs inside, that works offline."""
