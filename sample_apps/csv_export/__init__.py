"""A small application whose users export their books: its own API, and a worker that may run on another machine."""
