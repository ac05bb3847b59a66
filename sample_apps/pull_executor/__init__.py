"""A pull executor: works on tasks that it fetches itself, so that nobody needs to reach it."""
