"""HOW a model runs: one file per way, three methods each. WHEN it runs is decided in inference/."""
