"""What a run tells about itself: the machine, the network, and what kind of thing something is."""

import mosaic
import mosaic.utils.logger
from mosaic import types
from mosaic.comms import get_hostname
from mosaic.core import ArrayProxy, ParameterMixin
from mosaic.core.base import CMDBase, ProxyBase, RemoteBase
from mosaic.profile import global_profiler, profiler
from mosaic.runtime import Head, Runtime, RuntimeProxy
from mosaic.types import Struct
from mosaic.utils import (
    cpu_count,
    gpu_count,
    lowercase,
    memory_limit,
    memory_used,
    remote_sizeof,
    sizeof,
    uppercase,
)


def kind_of(value):
    """Tell what something is, whatever it is."""
    if isinstance(value, ParameterMixin):
        assert not isinstance(value, CMDBase)
        return "parameter"
    if not isinstance(value, CMDBase):
        return "reference" if isinstance(value, types.awaitable_types) else "value"
    if isinstance(value, types.remote_types):
        assert isinstance(value, RemoteBase)
        return "hosted"
    assert isinstance(value, (ProxyBase, *types.proxy_types))
    if type(value) in types.awaitable_types:
        return "task"
    return "array" if isinstance(value, ArrayProxy) else "proxy"


def length_of(value):
    """Return how many there are of something; 1 of what does not tell."""
    try:
        return len(value)
    except TypeError:
        return 1


def of_network(runtime):
    """Describe the network and the machine."""
    assert isinstance(runtime, (Runtime, Head))
    assert all(isinstance(worker, RuntimeProxy) for worker in runtime.workers)
    found = Struct()
    found.mode = runtime.mode
    found.uid = runtime.uid
    found.host = get_hostname()
    found.workers = [worker.uid for worker in runtime.workers]
    found.devices = [worker.indices[1] % (gpu_count() or 1) for worker in runtime.workers]
    found.cores = cpu_count()
    found.memory = memory_used() / memory_limit()
    found.level = mosaic.utils.logger.log_level
    found.traced = profiler.tracing
    assert global_profiler is mosaic.profiler
    found.version = mosaic.__version__
    found.places = Struct(
        {
            "monitor": mosaic.get_monitor().uid,
            "head": mosaic.get_head().uid,
            "node": mosaic.get_node().uid,
            "warehouse": mosaic.get_local_warehouse().uid,
        }
    )
    found.size = sizeof(found.workers), remote_sizeof(found.workers)
    found.title = uppercase(lowercase(found.mode))
    return found
