"""How a service talks to the broker."""
