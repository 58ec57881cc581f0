"""Parts shared by all networks: inputs, heads, losses, training, correction weights."""
