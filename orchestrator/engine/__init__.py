"""The loops of a node: each file is one loop's thought. They call use cases, never the store."""
