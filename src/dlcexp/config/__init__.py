"""The tree: its keys, how it is composed and checked, and how its targets become objects."""
