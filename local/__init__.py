"""The service on one machine, with nothing but Python: to try it, for a tunnel, for tests from outside.

The handler is the one that runs in Lambda, unchanged. Around it are small stand-ins for AWS and GitHub:

    options  serve                the door `python -m local serve`: arguments, environment, signals
    gateway  event                API Gateway (HTTP API): a loopback endpoint, events in payload format 2.0
    parameters                    Parameter Store, embedded (moto, in process)
    origin  upload_pack           GitHub's git side: a repository in memory behind smart HTTP, version 2
    github                        GitHub's webhook side: push payloads, signatures, deliveries
    demo  sample  service  tree   `python -m local demo`: all of it once, with every step shown
    stand_in  events              `sam local`: AWS and GitHub on fixed ports, and the events that fit them
    server  body  exchange        the HTTP/1.1 server under gateway and origin

Nothing here is deployed, and nothing in `handler` imports it.
"""
