"""`interlock fit-gate`: the gate for the unknown, fitted, measured on suites that were fixed first, and put into a bundle."""
