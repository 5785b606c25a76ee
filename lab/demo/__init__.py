"""The demonstration: real parts under real traffic, faults, and a verdict that rests on logs.

What comes in: a policy (``examples/multicloud.yaml``, or an incident's own) and a trace of production
traffic. What goes out: a timeline while it runs, then facts, and exit status 0 only if no promise was broken.

A run goes through these files::

    plan       policy + trace -> the run's policy, stand-ins and callers; every difference is named
    fleet      starts the processes: stack, stand-ins, controller, prober, callers
    run        plays phases (scenario) or an incident (incident, replay), with a drill beside them (drills)
    observer   reads topics, stand-ins' logs and callers' notes while it runs -> picture -> show
    facts      at the end: what the callers noted against what the stand-ins logged -> report

- *Nobody is asked whether it went well.* Callers note each request when it starts and when it ends; stand-ins
  log each arrival and end. A request is lost unless both sides agree on it (``facts``,
  ``lab.standins.ledger``).
- *Contracts are checked where requests arrive*: at the stand-ins, by the policy's own rule.
- *A phase ends when its effect shows*, not after a time; each has a deadline, and a phase that missed it is
  reported.
- *Callers behave like users.* They keep the trace's bursts, and one that stood still does not send everything
  that was due at once (``pacing``).

Tests: ``tests/unit/lab/demo`` for everything that is pure, ``tests/integration/test_demo.py`` for the whole.
"""
