"""How curated samples leave Seedbed: file formats today, data set card and Hub later."""
