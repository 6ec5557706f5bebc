"""What tools say where a test machine cannot make them: on a GPU, under a scheduler, by the kernel.

Not produced by these tests. The texts are in the form in which the tools' own sources and manuals give them; the
figures in them are examples.
"""

# c10/cuda/CUDACachingAllocator.cpp of torch 2.6 and later.
CUDA_MEMORY = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB"
    " of which 1.21 GiB is free. Including non-PyTorch memory, this process has 77.88 GiB memory in use. Of the"
    " allocated memory 76.90 GiB is allocated by PyTorch, and 412.33 MiB is reserved by PyTorch but unallocated."
)
# The CUDA runtime's own error, as torch wraps it (c10/cuda/CUDAException.cpp).
CUDA_RUNTIME_MEMORY = "torch.AcceleratorError: CUDA error: out of memory"
CUBLAS_MEMORY = "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
# The same place; the assertion is that of an index kernel.
CUDA_ASSERT = (
    "RuntimeError: CUDA error: device-side assert triggered\n"
    "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be"
    " incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1"
)
# torch/csrc and c10/cuda/CUDAFunctions.cpp: a CUDA build of torch on a machine without a driver, or without a device.
NO_DRIVER = "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU"
NO_DEVICE = "RuntimeError: No CUDA GPUs are available"
# torch/utils/data/_utils/worker.py and signal_handling.py: a loader's process in a container with a small /dev/shm.
SHARED_MEMORY = (
    "ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm)."
)
# slurmstepd, into the job's output.
TIME_LIMIT = "slurmstepd: error: *** JOB 4711 ON node03 CANCELLED AT 2026-01-31T12:00:00 DUE TO TIME LIMIT ***"
SLURM_MEMORY = (
    "slurmstepd: error: Detected 1 oom_kill event in StepId=4711.batch. Some of the step tasks have been OOM Killed."
)
# The kernel's log, where a job's wrapper passes it on.
KERNEL_MEMORY = "Out of memory: Killed process 4711 (python) total-vm:98765432kB, anon-rss:87654321kB"
