"""What people read: one page, the same in Markdown, and the numbers as JSON and Parquet."""

from rum_ray.report.files import write
from rum_ray.report.gallery import Gallery, Picture
from rum_ray.report.tables import HEADLINE_COLUMNS, Headline, headline
from rum_ray.report.text import label

__all__ = ["HEADLINE_COLUMNS", "Gallery", "Headline", "Picture", "headline", "label", "write"]
