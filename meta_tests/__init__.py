"""Who judges the judge: tests of the harness itself, with miniature liars."""
