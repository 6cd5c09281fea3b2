"""Results of a sweep: its ledger, the differences between its jobs, statistics, the table."""
