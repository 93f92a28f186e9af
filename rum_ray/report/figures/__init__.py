"""Figures of the report: Matplotlib drawings, called by the sections."""
