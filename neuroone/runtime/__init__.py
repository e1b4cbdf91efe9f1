"""How a service lives: settings, logs, start and stop, and its connection to the broker."""
