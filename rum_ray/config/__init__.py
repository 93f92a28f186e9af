"""Experiment files: YAML in and out, `--set` on top, every error with its place."""

from rum_ray.config.files import PlanFile, dump, dump_plan, load, load_plan, parse

__all__ = ["PlanFile", "dump", "dump_plan", "load", "load_plan", "parse"]
