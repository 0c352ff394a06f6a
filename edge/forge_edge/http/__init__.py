"""HTTP without I/O: what a request asks for and what an answer says of itself."""
