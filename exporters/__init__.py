"""How curated samples leave Seedbed: file formats, the tree and the card of a data set, the Hub."""
