"""Git over Forge beside git's own servers: repositories to measure on, servers, and the cases."""
