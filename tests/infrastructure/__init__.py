"""The template, the pipeline, and what they must keep to: linters, laws, rights, alarms, queries."""
