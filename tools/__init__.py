"""What is run beside the service, and never deployed.

artefact  finish  contents     `make build`: what `sam build` made is finished, looked through, and its size told
smoke                          after a deployment: one signed ping at the webhook's address
"""
