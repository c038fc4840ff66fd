"""AWS: API Gateway's events, Parameter Store, EventBridge, CloudWatch, and the boto3 clients."""
