"""What is generated, a module for each kind of file: `files()` is path (from the root) -> text."""
