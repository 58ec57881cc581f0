"""The `http-json` source: any web service that returns JSON."""
