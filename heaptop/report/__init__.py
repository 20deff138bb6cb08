"""A Snapshot as text, JSON or CSV. Pure: strings out, printing is the caller's."""
