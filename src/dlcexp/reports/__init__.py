"""HTML pages that work offline: of an evaluation, and of a sweep."""
