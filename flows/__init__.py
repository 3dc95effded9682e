"""The only room that composes the others: the walk from recipe to curated rows, Prefect and the command line."""

from seedbed.surroundings import quiet

quiet()  # before any module of this room imports what would call home
