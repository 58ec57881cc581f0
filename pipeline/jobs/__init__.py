"""The jobs, a file each: its steps in order, and its result. A job receives a `Workspace`."""
