"""How samples are made: one file a method."""
