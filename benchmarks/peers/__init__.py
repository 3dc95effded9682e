"""Peers measured beside Seedbed: what each is asked, a driver for each, and who times them."""
