"""The mount half of the operator's commands: `local` has them all, by the protocol `exchange.operations`."""
