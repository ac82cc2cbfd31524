"""Dynamic least squares: rows come and go, solutions on demand (arXiv 2201.00228).

`stream` is what users hold; one file a method and one a concern. See docs/dynamic-least-squares.md.
"""
