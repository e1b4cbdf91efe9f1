"""Names and columns of what the recorder writes."""
