"""The fault suite: real servers, real load over the wire, one fault after the other. `make faults` writes docs/faults.md."""
