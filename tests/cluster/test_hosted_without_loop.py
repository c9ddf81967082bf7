"""`Klass.local` in a synchronous script: its calls run on a thread of mosaic's own."""

from tests.support.actors import Counter


def test_it_listens_once_its_calls_run(fresh):
    hosted = Counter.local()
    hosted.listen()
    assert hosted.proxy.add(2).wait() == 2
    assert hosted.obj.count == 2
