"""Reference jobs: real work on real input, each a page to copy from."""
