"""256 clients that leave at random: does the service keep anything of them, and do the others notice?

    python -m benchmarks.soak

starts the service and, in a process of their own, a few clients that post one frame after the other and wait for each
answer. Beside them come, in turn:

    calm            nobody
    patient         a crowd that waits for its answers too
    leaving         the same crowd, posting as many frames a second as before, but everyone leaves at a random moment:
                    in the header, in the body, while its frames wait or while they are computed, closing or resetting
                    the connection; a fifth of the requests have several frames
    leaving fast    the same, as fast as they can
    calm after      nobody again

What counts:

    queue, uploads, connections    back to nothing within seconds after the crowd
    resident memory                flat over all requests of the crowd that leaves as fast as it can
    p99 of the clients that stay   beside a leaving crowd no worse than beside a patient one that posts as many frames

Writes soak.json. Linux only: it reads /proc.
"""
