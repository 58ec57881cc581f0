"""The jobs: one file each, with its result beside its steps. `catalogue` declares them; each receives a `Workspace`."""
