"""What an installation has, what it may do with it, and by which numbers the rules decide.

In: one frozen ``Policy``, read from YAML by controller/policy_file.py. Out: a ``CompiledPolicy``, which says
for every route, that is for every (workload, origin), which pools are lawful and in which order of merit they
are used. All other chapters see pools, providers and routes only by their index in it.

The rule: a pool is lawful for a route if every exclusivity, provider list, pin, residency and model
requirement admits it (``lawful.py``). Nothing later in a decision adds a pool: every other chapter chooses
among the lawful ones. So contracts and residency hold in each share, in ``on_loss`` and in the last resort.

Every number that a rule uses is a field of ``Thresholds``. Fields that have their default are left out of the
policy's encoding, so a new threshold leaves the version of every older policy as it was, and decisions that
were recorded under it are decided again to the same bytes.

| file | what it answers |
|---|---|
| policy.py | what is in a policy, in which units |
| check.py | which parts of it contradict each other, and what to do about it |
| lawful.py | which pools may serve a route, or by which rule not |
| compiled.py | the order of merit, and all of a policy by index |
| difference.py | in what two policies differ, and which contracts the newer one loosens |
| shares.py | how a provider's largest share is counted in parts per million |

Tested in tests/unit/controller/core/policy, tests/unit/controller/test_policy_file.py and, for what no
decision may ever break, tests/property/test_planner_property.py.
"""
