"""From the folder of the published solution to a description: find, judge, guess, write."""
