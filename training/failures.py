"""Why a session can fail, and what its owner can do about each: the code is for programs, the remedy for people."""

REMEDIES = {
    "cuda_oom": "Lower batch_size or take a smaller architecture: the GPU's memory was not enough.",
    "host_oom": "Lower batch_size, take a smaller dataset or give the machine more memory.",
    "non_finite_loss": "Lower learning_rate and look for extreme values in the data.",
    "bad_dataset": "Correct the dataset and upload it under a new name.",
    "bad_config": "Start the session again with the configuration that the error message asks for.",
    "disk_full": "Free space on the disk of the data directory, then start the session again.",
    "disk_error": "Check the disk of the data directory and the rights on it, then start the session again.",
    "device_lost": "Check the GPU and its driver, then start the session again.",
    "no_valid_checkpoint": "Start the session again from the beginning.",
    "user_code": "Read the traceback in the session's log and correct the code that it names.",
    "crash_loop": "Read the end of the session's console.log: the trainer died every time it was started.",
}
