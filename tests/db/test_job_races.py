"""Jobs that wait for others while those end, on both databases: nobody waits for good."""

import threading

import pytest
from sqlalchemy import event, select, update

from mgmt_server.db import engine, new_uuid, reading, write
from mgmt_server.jobs import Job, enqueue
from mgmt_server.jobs.flow import load
from mgmt_server.jobs.queue import claim, join_cluster
from mgmt_server.jobs.rows import JobRow


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def node(request):
    request.getfixturevalue("database" if request.param == "sqlite" else "on_mariadb")
    write(lambda tx: tx.execute(update(JobRow).where(JobRow.state != "done").values(state="done")))
    return join_cluster(f"n{new_uuid()[:8]}")


def nothing(job: Job, name: str) -> None:
    pass


def queued(name):
    return write(lambda tx: enqueue(tx, nothing, (name,), lock=f"race {name} {new_uuid()}").id)


def test_a_job_that_is_put_aside_while_the_other_ends_goes_on(node):
    """The other one's end comes between the look at it and the note that it is waited for."""
    numbers = [queued("parent"), queued("child")]
    parent, child = (load(write(claim, node)) for _ in numbers)
    looked, ended = threading.Event(), threading.Event()

    def meet(_connection, _cursor, statement, *_):
        if threading.current_thread() is not other and statement.startswith("UPDATE job SET"):
            looked.set()
            ended.wait(0.5)  # where it can end now, it has

    def end():
        assert looked.wait(10)
        child.run()
        ended.set()

    other = threading.Thread(target=end)
    other.start()
    event.listen(engine(), "before_cursor_execute", meet)
    try:
        write(parent._put_aside, numbers[1])
    finally:
        event.remove(engine(), "before_cursor_execute", meet)
        other.join(20)
    with reading() as session:
        states = dict(session.execute(select(JobRow.id, JobRow.state).where(JobRow.id.in_(numbers))).all())
    assert states == {numbers[0]: "queued", numbers[1]: "done"}
