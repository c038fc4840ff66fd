"""Programs that run beside the service, and are never deployed.

artefact  finish  contents     `make build`: finish what `sam build` made, check it, and print its size
reach                          which modules an entry point can import, read from the source
locks                          `make lock`: write the lock files
sbom                           a release: write the software bill of materials of the artefact
smoke                          after a deployment: send one signed ping to the webhook
accept                         `make accept`: prove on a real account what is built, and delete it again
"""
