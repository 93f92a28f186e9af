"""What people read: one page, the same in Markdown, and the numbers as JSON and Parquet."""
