"""Run the service on one machine with nothing but Python: to try it, behind a tunnel, or in tests from outside.

The handler is the one that Lambda runs, unchanged. Around it are small simulations of AWS and GitHub:

    options  serve                `python -m local serve`: arguments, environment, signals
    gateway  event                API Gateway (HTTP API): a loopback endpoint, events in payload format 2.0
    parameters  moto_call         Parameter Store, simulated by moto in this process
    aws  sqs  mapping  worker     `serve --queued`: SQS's FIFO queue, Lambda's event source mapping, the worker
    origin  upload_pack           GitHub's git side: a repository in memory behind smart HTTP, version 2
    github                        GitHub's webhook side: push payloads, signatures, deliveries
    demo  sample  service  tree   `python -m local demo`: the whole service once, showing every step
    stand_in  events              `sam local`: AWS and GitHub on fixed ports, and events to invoke functions with
    server  body  exchange        the HTTP/1.1 server under gateway and origin
    reference                     the tables of docs/configuration.md, the index of docs/decisions.md

Nothing here is deployed, and nothing in `handler` imports it.
"""
