"""The error for what a user gave us. Engines, store and leases have theirs beside them."""


class InputError(ValueError):
    """Something that a user wrote cannot be used: the message says what, where and what to write instead."""
