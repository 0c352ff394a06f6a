"""The DHT by the thousand: production code in a simulated network."""
