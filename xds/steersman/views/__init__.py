"""The mesh from where a proxy stands -> what it sees. Pure functions of (read, key)."""
