"""The whole stack, built and deployed by SAM into an AWS emulator on this machine: `make e2e`."""
