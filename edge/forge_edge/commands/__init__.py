"""What can be typed: each module is one command."""
