"""What a server asks the archive: jobs by what they are or have said, and their logs."""
