"""What every network shares: what it sees, its head and loss, how it is trained and judged."""
