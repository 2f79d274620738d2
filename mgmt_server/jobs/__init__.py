"""Work that takes time: flows that survive a crash.

A flow is a plain function of a job and of plain values. It reads from top to bottom:

    def create(job: Job, volume_id: int) -> None:
        place = job.write(pools.reserve, volume_id, undo=pools.release)
        path = job.call(disk.create, place, undo=disk.delete)
        job.write(ready, volume_id, path)

`write` runs a function in one transaction, together with the note that it ran: exactly once.
`call` runs a function of the outside world: at least once, with the same call id each time.
`wait` starts another flow, with a lock of its own, and goes on when that has ended; no thread waits meanwhile.

After a crash the flow runs again from its first line, and each finished step gives its noted value at once. What
stands between steps must therefore be pure. When a step fails, the undos of the finished ones run, the last one first,
each with the arguments of its step; a call that failed is undone too, for it may have done half its work.
"""

from mgmt_server.jobs.flow import Job, gives_up
from mgmt_server.jobs.queue import Accepted, Asker, enqueue

__all__ = ["Accepted", "Asker", "Job", "enqueue", "gives_up"]
