"""The languages that WebSocket clients speak: the first one and neuroone.v1."""
