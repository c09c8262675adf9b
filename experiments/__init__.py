"""Commands: one file per data set, the options table and what runs them."""
