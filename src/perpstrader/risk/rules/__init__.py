"""The rules, one family a file: pure functions from a case to the checks that it passed or failed."""
