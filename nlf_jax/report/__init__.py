"""The report of a run: one HTML file, and its figures as files."""
