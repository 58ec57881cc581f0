"""Which model serves: tracking, the gate, aliases, and the ledger of every change."""
