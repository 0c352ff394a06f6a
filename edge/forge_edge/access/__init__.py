"""Who may have what, and how much."""
