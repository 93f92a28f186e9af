"""The report of a study: report.html, report.md, report.json and two Parquet files.

Each section of the page is one file of `sections/`, which builds blocks (`blocks.py`). The
renderers (`render/`) turn blocks into HTML and Markdown; the terminal prints the same tables.
"""
