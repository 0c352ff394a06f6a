"""Packs and their indexes as git keeps them: read, checked, written, joined. Whole arrays, never object by object.

The bytes are those of gitformat-pack(5). Everything that is read may come from a stranger: sizes are compared with what
the file holds before anything is allocated for them, and what does not follow the format raises `Malformed`.
"""
