"""The SQS queue between the webhook and the worker."""
