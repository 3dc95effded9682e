"""Rows of others: files, folders and data sets of the Hub, read lazily, and what a row of them says."""
