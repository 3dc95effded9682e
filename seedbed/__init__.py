"""The kernel: records, recipes, taxonomy, engines, ledger and store. It knows nothing of any method."""
