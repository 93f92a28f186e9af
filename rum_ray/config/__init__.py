"""Experiment files: read and write YAML, apply `--set`; every error states its place."""

from rum_ray.config.files import UNCHOSEN, PlanFile, dump, dump_plan, load, load_plan, parse

__all__ = ["UNCHOSEN", "PlanFile", "dump", "dump_plan", "load", "load_plan", "parse"]
