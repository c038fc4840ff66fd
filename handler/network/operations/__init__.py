"""The operator's commands: status, publish, roll back, hold, resume, take over, verify, and the doctor.

command    an event's fields → a `Command`; every problem at once
operator   carries out a `Command`, and returns its content: plain values for JSON, with the exit code
status     remotes, mount and schedule → the status of each repository
doctor     checks everything that publishing needs; `checks` has its AWS half
setup      a repository's parameter, the secret, the webhook; `stack` finds the deployed stack
aws        requests to SQS, EventBridge, CloudFormation and Lambda
render     a command's content → a table for a terminal
"""
