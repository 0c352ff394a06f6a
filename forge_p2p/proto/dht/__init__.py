"""A Kademlia of members: who is near a key, and who provides what it stands for. `docs/dht.md` says why it is so."""
