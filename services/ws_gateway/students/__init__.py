"""Students: their streams, their limits and what the broker knows of them."""
