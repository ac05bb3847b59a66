"""Imports a catalogue of airports or cities: ten workers, a slice each, page by page, under a rate limit."""
