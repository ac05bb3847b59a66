"""What the API's JSON looks like: for each noun the documented models, and the functions that write it."""
