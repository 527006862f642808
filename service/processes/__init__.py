"""Several processes as one service: one port, one set of metrics, one drain.

    board         shared memory: who is ready, and how many connections each process holds
    entrance      takes connections from the one listening socket, in turn with the other processes
    reports       the metrics of one process as plain data, and the sum over processes
    messages      what a process and its supervisor say to each other
    link          a process's end of that
    worker        one process: the server of `service.server`, with the above in place of what it does alone
    heartbeats    who is ready and hangs
    restarts      when a process that died is started again, and when to give up
    supervisor    the parent: starts, restarts, adds up, drains

The listening socket is made once and inherited. With one per process (SO_REUSEPORT) the kernel would deal connections
out blindly, also to a process that loads, and reset those that wait before a process that dies.
"""
