"""A made-up match with a truth file, and the score of a result against it (docs/sample-match.md)."""
