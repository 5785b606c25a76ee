"""The topic ``tieline.offers``: requests for capacity go out, and answers come in.

In: what each publication remembers of requests (``Memory.offers``), and the records of the topic. Out: one
record for each request that differs from the last record of its id, and the answers to open requests, which
the planner takes as part of its snapshot.

- The planner's memory is the truth. It lies in the routes log, which no deposed leader can change. The topic
  tells others, so a record of it that was lost or written twice changes nothing: whoever leads compares the
  newest record of each id with what was published last, and appends what differs.
- A request is told only after the publication that remembers it. So nobody is asked for what a crash forgets.
- Answers are only collected here, the newest of each source. Whether one counts is a rule of the planner
  (core/offers/answers.py), which is decided again whenever the decision is.
- Whoever leads has read the topic to its end first, so that no answer is missed that came in a pause.

Tests: tests/unit/controller/offers, tests/integration/test_offers.py.
"""
