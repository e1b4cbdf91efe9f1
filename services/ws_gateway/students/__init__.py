"""Students: their streams, their rate limits and what the broker knows of them."""
