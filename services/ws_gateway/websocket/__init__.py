"""WebSocket connections: bytes in, frames out, within limits."""
