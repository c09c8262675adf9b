"""Data: corpora, vocabularies and batches, in NumPy only."""
