import os

import pytest
import torch

from skdiffuse.training import read_tensors, recover_checkpoint, save_checkpoint, write_tensors


def test_round_trip(tmp_path):
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(2**40)}
    write_tensors(tmp_path / "x.safetensors", tensors, {"name": "é", "list": [1, None]})
    back, metadata = read_tensors(tmp_path / "x.safetensors")
    assert metadata == {"name": "é", "list": [1, None]}
    for key in tensors:
        assert torch.equal(back[key], tensors[key])
        assert back[key].dtype == tensors[key].dtype


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": torch.ones(1)}, {})

    def disk_is_full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_is_full)
    with pytest.raises(OSError, match="No space left"):
        write_tensors(path, {"a": torch.zeros(1)}, {})
    assert os.listdir(tmp_path) == ["x.safetensors"]
    assert read_tensors(path)[0]["a"].item() == 1.0


def test_only_the_newest_are_kept_and_recovered(tmp_path):
    for step in (5, 50, 500, 5000):
        save_checkpoint(tmp_path, step, {"step": torch.tensor(step)}, {})
    assert len(os.listdir(tmp_path)) == 2
    tensors, metadata = recover_checkpoint(tmp_path)
    assert metadata["step"] == tensors["step"].item() == 5000


def test_later_steps_of_an_earlier_training_are_older(tmp_path):
    for step in (900, 1000, 1, 2, 3):
        save_checkpoint(tmp_path, step, {"step": torch.tensor(step)}, {})
        assert recover_checkpoint(tmp_path)[1]["step"] == step


@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign", "garbage"])
def test_damaged_checkpoint_is_passed_over(tmp_path, damage):
    save_checkpoint(tmp_path, 1, {"step": torch.tensor(1)}, {})
    newest = save_checkpoint(tmp_path, 2, {"step": torch.tensor(2)}, {})
    content = newest.read_bytes()
    if damage == "foreign":
        from safetensors.torch import save_file

        save_file({"a": torch.ones(1)}, newest)
    else:
        cut = {"truncated": content[:-1], "empty": b"", "garbage": b"x" * len(content)}
        newest.write_bytes(cut[damage])
    with pytest.warns(RuntimeWarning, match="Passed over a checkpoint"):
        _, metadata = recover_checkpoint(tmp_path)
    assert metadata["step"] == 1


def test_nothing_to_recover(tmp_path):
    assert recover_checkpoint(tmp_path) is None
    assert recover_checkpoint(tmp_path / "absent") is None
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "absent.safetensors")


def test_any_flipped_bit_is_noticed(tmp_path):
    """In the header, in the metadata and in the values."""
    import random

    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": torch.randn(40), "b": torch.tensor(3)}, {"step": 7, "text": "abc"})
    whole = path.read_bytes()
    draw = random.Random(0)
    for position in draw.sample(range(len(whole)), 250):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            tensors, metadata = read_tensors(path)
        except ValueError:
            continue
        # Only the padding of the header may differ without harm.
        assert metadata == {"step": 7, "text": "abc"}
        path.write_bytes(whole)
        assert all(torch.equal(tensors[k], v) for k, v in read_tensors(path)[0].items())


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    (tmp_path / ".checkpoint-00000001.safetensors.abc").write_bytes(b"half")
    save_checkpoint(tmp_path, 2, {"a": torch.ones(1)}, {})
    assert os.listdir(tmp_path) == ["checkpoint-00000002.safetensors"]


def test_a_clock_that_is_set_back_loses_nothing(tmp_path):
    """The newest is the one that was written last, whatever the clock said."""
    for step in (1, 2, 3, 4):
        path = save_checkpoint(tmp_path, step, {"step": torch.tensor(step)}, {})
        if step == 2:
            ahead = path.stat().st_mtime_ns + 3600 * 10**9
            os.utime(path, ns=(ahead, ahead))
        assert recover_checkpoint(tmp_path)[1]["step"] == step
    assert sorted(os.listdir(tmp_path))[0].startswith("checkpoint-00000003")


def test_others_may_read_what_was_written(tmp_path):
    path = tmp_path / "file.safetensors"
    write_tensors(path, {"a": torch.ones(1)}, {})
    assert path.stat().st_mode & 0o777 == 0o644
