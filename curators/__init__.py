"""How samples are judged (one at a time) or selected (as a set): one file a method."""
