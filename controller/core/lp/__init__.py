"""The dispatch: where all load should be, solved as one linear programme for the whole route table.

In: a ``Problem``, which ``problem.py`` makes of a snapshot: the demand of each route, the table in force, and
what each pool and quota group may carry. Out: a ``Plan``: the share of each route that each pool should have.
A plan only guides moves by choice (controller/core/moves/voluntary.py). It never forces a move.

The variables, in units/s, are ``x[r,p]`` (load of route r on pool p), ``burst[p]`` (what the pool carries
beyond its committed capacity), ``shed[r]`` (load that is not served), and for each loss k of a provider or of
another failure domain ``instead[k,c,t]`` and ``short[k,c]``: of the critical load of class c on the lost
pools, what pools of kind t would take over and what would find no room. The least cost is sought, subject to

    for each route r           sum over p of x[r,p] + shed[r] = demand[r]
    for each pool p            sum over r of x[r,p] - burst[p] <= committed[p]
                               burst[p] <= usable[p] - committed[p]
    for each quota group       the load of its pools <= what the group may carry
    for each share limit       the load of the route on the provider's pools <= share * demand[r]
    for each loss k, class c   sum over t of instead[k,c,t] + short[k,c] = load of c on the pools of k
    for each loss k, kind t    critical load on t + sum over c of instead[k,c,t] <= what t may carry

The last two are the N-1 rule of power grids: critical load must have a place after any loss. The costs stand
in ``programme.py``. docs/dispatch.md explains all of it for operators.

The controller imports only ``problem.py``, as it never loads a solver. The other files run in the solver
process: ``programme.py`` (costs and room as arrays), ``commodities.py`` (routes that the programme can't tell
apart are solved as one, and get their load back afterwards), ``pool_classes.py`` (the same of pools, in large
programmes only), ``losses.py`` (one loss as rows and columns), ``hubs.py`` (the same with fewer columns),
``screen_losses.py`` (which losses need rows at all), ``entries.py`` and ``tableau.py`` (the matrix in HiGHS,
which grows by columns and by losses) and ``solve.py`` (the rounds, and the answer as a plan).

It is tested rule by rule in tests/unit/controller/core/lp. tests/property/test_solve_property.py compares it
with the same programme without any aggregation, and with the tightest cut, which needs no solver.
tests/property/test_commodities_property.py proves the way back from commodities to routes, and
tests/property/test_pool_classes_property.py that from classes to pools.
"""
