"""The node that the gateway stands beside, over its control socket."""
