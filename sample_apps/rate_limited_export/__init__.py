"""Exports the countries of the world to a service that answers 429, by a webhook that answers 429 too."""
