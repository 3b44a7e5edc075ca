"""Files on every backend: whole or not at all, inside the root, and the world's failures told."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time

import pytest

from zsds_tasks.errors import ConfigurationError, TransientError, UnusableInputError
from zsds_tasks.lakehouse import local_storage as local_storage_module
from zsds_tasks.lakehouse import paths
from zsds_tasks.lakehouse.connection import open_storage
from zsds_tasks.lakehouse.maintenance import sweep
from zsds_tasks.lakehouse.storage import TEMPORARY_SUFFIX
from zsds_tasks.settings import Settings


def test_what_is_put_is_read(storage, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"pixels")
    storage.put_file_atomically(source, "raw/2026/a.fits.fz")
    storage.put_bytes_atomically(b"more", "raw/2026/b.fits.fz")
    assert storage.read_bytes("raw/2026/a.fits.fz") == b"pixels"
    with storage.open_read("raw/2026/b.fits.fz") as stream:
        assert stream.read(2) == b"mo"
    assert storage.exists("raw/2026/a.fits.fz")
    assert not storage.exists("raw/2026")
    assert storage.size("raw/2026/a.fits.fz") == 6
    assert [(entry.path, entry.size) for entry in storage.list("raw")] == [
        ("raw/2026/a.fits.fz", 6),
        ("raw/2026/b.fits.fz", 4),
    ]
    assert all(abs(entry.modified - time.time()) < 60 for entry in storage.list("raw"))
    assert storage.children("raw") == ["2026"]
    storage.put_bytes_atomically(b"new", "raw/2026/b.fits.fz")
    assert storage.read_bytes("raw/2026/b.fits.fz") == b"new"
    assert source.exists()


def test_what_is_not_there(storage):
    assert not storage.exists("a/b")
    assert list(storage.list("a")) == []
    assert storage.children("a") == []
    with pytest.raises(FileNotFoundError):
        storage.read_bytes("a/b")
    with pytest.raises(FileNotFoundError):
        storage.size("a/b")
    storage.delete("a/b")
    storage.delete_tree("a")


def test_copies_and_deletions(storage):
    storage.put_bytes_atomically(b"x", "a/one")
    storage.copy_or_link("a/one", "b/two")
    storage.copy_or_link("a/one", "b/two")
    storage.delete("a/one")
    assert storage.read_bytes("b/two") == b"x"
    storage.delete_tree("b")
    assert list(storage.list()) == []


def test_an_exclusive_put_has_one_winner(storage):
    storage.put_bytes_atomically(b"first", "claim", exclusive=True)
    with pytest.raises(FileExistsError):
        storage.put_bytes_atomically(b"second", "claim", exclusive=True)
    assert storage.read_bytes("claim") == b"first"


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "a\0b", "a\\..\\b", ".."])
def test_paths_that_leave_the_root_are_refused(storage, path):
    with pytest.raises(UnusableInputError, match="this path would leave the root"):
        storage.put_bytes_atomically(b"x", path)
    with pytest.raises(UnusableInputError, match="Remedy"):
        storage.read_bytes(path)


def test_addresses(storage):
    assert storage.uri("lake/a") == f"{storage.root}/lake/a"
    local = storage.local_path_or_none("lake/a")
    assert (local is None) == storage.root.startswith("s3://")


def test_a_link_shares_its_bytes(local_storage, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"x" * 1000)
    local_storage.put_file_atomically(source, "raw/linked", link=True)
    assert local_storage.local_path_or_none("raw/linked").samefile(source)
    local_storage.put_file_atomically(source, "raw/linked", link=True)
    assert [entry.path for entry in local_storage.list("raw")] == ["raw/linked"]


def test_a_full_disk_is_transient_and_leaves_nothing(local_storage, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(local_storage_module.os, "fsync", full)
    with pytest.raises(TransientError, match=r"a/b: storage failed: No space left.*Remedy: free some space"):
        local_storage.put_bytes_atomically(b"x", "a/b")
    monkeypatch.undo()
    assert list(local_storage.list()) == []


def test_a_really_full_disk(tmp_path):
    # RLIMIT_FSIZE makes the kernel refuse the write as a full disk would, without root and without a disk.
    script = """
import resource, signal, sys
from zsds_tasks.errors import TransientError
from zsds_tasks.lakehouse.connection import open_storage
from zsds_tasks.settings import Settings
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
storage = open_storage(sys.argv[1], Settings())
try:
    storage.put_bytes_atomically(bytes(5000), "raw/big")
except TransientError as error:
    print(error)
print(sorted(entry.path for entry in storage.list()))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, cwd="."
    )
    assert "raw/big: storage failed: File too large" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_no_right_to_write_is_for_a_human(local_storage, monkeypatch):
    def refused(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(local_storage_module.os, "fsync", refused)
    with pytest.raises(ConfigurationError, match="not allowed: Permission denied"):
        local_storage.put_bytes_atomically(b"x", "a/b")


def test_an_unreachable_object_store_is_transient():
    settings = Settings(s3_endpoint="http://127.0.0.1:9", s3_key="k", s3_secret="s")  # noqa: S106 - no secret
    with pytest.raises(TransientError, match="s3://nowhere/x/a"):
        open_storage("s3://nowhere/x", settings).read_bytes("a")


def test_other_roots_are_refused():
    with pytest.raises(ConfigurationError, match="gs://x: is neither a folder nor an s3:// URI"):
        open_storage("gs://x", Settings())


def test_sweep_takes_old_orphans_and_temporaries_only(storage):
    products = ("raw/frame.fz", "sci/kept.fz", "sci/orphan.fz", f"sci/.x{TEMPORARY_SUFFIX}")
    for path in (*products, "reports/20260101/night.html"):
        storage.put_bytes_atomically(b"12345", path)
    later = time.time() + 48 * 3600
    assert sweep(storage, {"sci/kept.fz"}).bytes_freed == 0
    planned = sweep(storage, {"sci/kept.fz"}, now=later, dry_run=True)
    done = sweep(storage, {"sci/kept.fz"}, now=later)
    assert planned == done
    assert done.orphans == ("sci/orphan.fz",)
    assert done.temporaries == (f"sci/.x{TEMPORARY_SUFFIX}",)
    assert done.bytes_freed == 10
    assert [entry.path for entry in storage.list()] == [
        "raw/frame.fz",
        "reports/20260101/night.html",
        "sci/kept.fz",
    ]


def test_paths_are_as_their_templates_say():
    assert paths.table("sources") == "lake/sources"
    assert paths.latest("sources") == "hats/sources/latest"
    assert paths.collection_version("sources", 3) == "hats/sources/v3"
    assert paths.quarantine_reason("x.fits.fz") == "quarantine/x.fits.fz.json"
    assert paths.report("20260101", "night.html") == "reports/20260101/night.html"
    assert paths.product("raw", "2026/0101/x.fits.fz") == "raw/2026/0101/x.fits.fz"
    with pytest.raises(ValueError, match="unknown kind of product 'lake'"):
        paths.product("lake", "x")
