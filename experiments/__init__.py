"""Programs, one for each experiment."""
