"""Notifications: what happens, told to a webhook, Slack, PagerDuty or Alertmanager.

In: the records of ``tieline.history`` (``controller.history``). Out: HTTP requests, one after another for
each target. `tieline notify` is a process of its own, so a slow target never delays a decision. See
docs/decisions/0012-notifications-follow-the-history.md.

- **Once.** Each target has a consumer group of its own on the history topic. Its position is committed behind
  what the target took, so a restart or a second process goes on where the first stopped, and of two processes
  one sends. A crash between an answer and the commit repeats a notification, under the same key.
- **How it is now.** A condition is told when it begins and when it ends. One that comes and goes is told
  again after ``repeat_after_s`` at the earliest, and then as it is. What is critical is told at once.
- **Bounded.** A target takes ``per_minute`` notifications a minute; what is beyond that is counted and told
  in one line. Its queue is bounded: the oldest informational one is left out first, a critical one never.
  While a queue is full of critical ones, its target reads no further.
- **Tried again.** 429, 5xx and silence are tried again with growing waits, no sooner than Retry-After says.
- **No secrets in sight.** Addresses and tokens come from files or the environment, and are never logged.
  Templates only put named texts into place: nothing in them is evaluated.

    target     a target as the file has it, and what it wants (pure)
    targets    the file and the secrets that it names, read and checked
    template   texts with names in braces
    shapes     an entry as each kind of target takes it
    outbox     what is to be sent to one target, and when (pure)
    sending    one HTTP request, and what its answer means
    follow     one target: reads the history, sends, commits
    run        all targets of a file

Tests: tests/unit/controller/notify, tests/integration/test_notify.py.
"""
