"""The error of a store, in a file of its own: all parts of the store raise it."""


class StoreError(Exception):
    """The store cannot be used as it is: the message says why and what to do."""
