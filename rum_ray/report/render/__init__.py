"""Renderers of the report. They know blocks and nothing of their content."""
