"""Dead letters: the records that were set aside, from the header that says why to sending one again."""
