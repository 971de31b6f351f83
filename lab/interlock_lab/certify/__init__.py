"""`interlock certify`: dials with a bound on how often harmful text gets past them, and what keeps the bound honest."""
