"""Seeds: node, gateway and bucket from one file."""
