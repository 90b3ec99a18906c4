"""The rules: what we promise. Only these modules change rows; they decide in pure functions, then write once."""
