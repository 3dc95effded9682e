"""The only room that composes the others: the walk from recipe to curated rows, Prefect and the command line."""
