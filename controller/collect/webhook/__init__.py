"""The webhook: what others push over HTTP, taken in, checked, and told to Tieline as events.

In: POST requests of alerting systems and of producers without a Kafka client. Out: statements, or the events
themselves, on Kafka. It listens in the process of `tieline collect`, when its file has a section ``webhook``.
Each hook has a path, ``/v1/hooks/NAME``, and a kind:

    alertmanager   webhook of Prometheus's Alertmanager, version 4
    pagerduty      webhook subscriptions (v3), and the Events API v2 that monitoring tools speak
    statuspage     what a Statuspage sends to those who subscribed by webhook
    cloudevents    Tieline's own events as CloudEvents, in the binary, structured and batch mode

- **Answered means kept.** A request is answered 202 only after Kafka has acknowledged every event of it.
  While Kafka is away the answer is 503 with ``Retry-After``, so the sender keeps it and comes again.
- **A wrong event is its sender's error.** It is checked by the contract and by the policy in force before it
  is sent, and the answer names the place and the remedy.
- **A push is a change, a statement is a whole view.** ``alert_book`` holds what is still claimed, and makes
  the whole statement of each region that a change touches. Each claim ends with the id of its alert in square
  brackets. At its start the process reads its own last statements (``restored``), so a restart loses nothing
  and an alert that is resolved later still ends its claim.
- **A claim ends by itself** after ``expires_after_s``, so a system that dies silently claims nothing for
  ever.
- **What the file does not map is counted and named in the answer**, never guessed.
- **Callers show a secret** that is compared in constant time, as a bearer token, a signature, or a parameter
  where the sender can do no better. Bodies, rates and failures are bounded (``receiver``).

    hooks          the settings of each kind, and the section of the file
    alerts         from a body to alerts, for each kind (pure)
    alert_book     from alerts to statements (pure)
    event_mode     from a request to Tieline's events (pure)
    restored       the statements that this source made before
    secrets_shown  whether a caller shows the secret (pure)
    receiver       who is let in, and what is answered
    serving        the server, its bounds and its figures

Tests: tests/unit/controller/collect/webhook, tests/integration/test_webhook.py. How to set senders up:
docs/collecting.md.
"""
