"""Plain HTTP on the port of the WebSocket server."""
