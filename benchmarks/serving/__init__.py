"""The service under load beside the machine's limit and beside other servers, measured in one interleaved run.

    python -m benchmarks.serving            the full run, within an hour on two cores; --quick goes through everything

    frames          the same frames in three sizes
    environments    a virtual environment for each other server, its versions pinned
    processes       what the processes of one server use, and how they are frozen and ended
    contenders      how each is started and asked: data, one entry each
    servers         a contender that runs
    in_process      the machine's limit: a plain loop
    answers         nobody is timed before his answers are right
    closed_loop     so many clients that each wait for their answer (wrk)
    open_loop       so many frames a second, whether answered or not
    plan            what is measured
    rounds          in which order
    overload        what happens at three times the capacity
    profile         where the service's time goes
    figures         ratios within a round, and what is asked of them
    plot, report    results.svg, results.json and RESULTS.md

Each may be read on its own; data flows downwards.
"""
