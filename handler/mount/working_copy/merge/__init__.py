"""What `git merge` decides of three versions: of a file's lines, and of trees, with renames."""
