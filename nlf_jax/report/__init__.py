"""The report of a run: one HTML file, and its figures as files."""

from nlf_jax.report.build import build, save_figures
from nlf_jax.report.subject import Subject

__all__ = ["Subject", "build", "save_figures"]
