"""Worker processes that `taskbridge` starts: what each has, and any application in one."""
