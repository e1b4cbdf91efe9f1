"""Shows live plots of what is published."""
