"""What `make build` made: what is inside, and how it runs under Lambda's own runtime client. `make e2e` runs it all."""
