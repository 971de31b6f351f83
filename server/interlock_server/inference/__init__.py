"""WHEN a model runs: one bounded queue, lanes, deadlines, breakers. HOW it runs is in backends/, what follows in decision/."""
