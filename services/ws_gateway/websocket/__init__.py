"""WebSocket connections: bytes in, frames out, with limits."""
