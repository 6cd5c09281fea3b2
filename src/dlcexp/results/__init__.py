"""What a sweep left behind: its ledger, what differs between its jobs, statistics, the table."""
