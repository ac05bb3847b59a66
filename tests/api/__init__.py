"""The native API, through HTTP on the real application and real databases."""
