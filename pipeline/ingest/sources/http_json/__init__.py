"""The `http-json` source: any service that answers in JSON."""
