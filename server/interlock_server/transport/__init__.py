"""THE EDGE: gRPC, health, metrics over HTTP. Translates between the contract and the filter; decides nothing."""
