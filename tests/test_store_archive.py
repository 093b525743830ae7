"""Studies as one file: the same to the bit on the other side, and nothing hostile gets in."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stores import call, family, hashes, put, read_only, small_disk, stage, two_studies

from rethinklab.errors import ConfigError, StoreError
from rethinklab.experiments.archive import export, import_
from rethinklab.experiments.store import Store
from rethinklab.experiments.upkeep import check


@pytest.fixture
def store(tmp_path):
    return two_studies(tmp_path / "runs")


def repacked(source, target, change=lambda members: members):
    """The archive with other members: a list of (TarInfo, bytes)."""
    with tarfile.open(source) as old:
        members = [(m, old.extractfile(m).read()) for m in old.getmembers()]
    with tarfile.open(target, "w:gz") as new:
        for member, content in change(members):
            if member.isreg():
                member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    return target


def member(name, kind=tarfile.REGTYPE, link=""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, link
    return entry


@pytest.mark.parametrize("name", ["all.tar.gz", "all.tgz", "all.tar"])
def test_a_round_trip_is_equal_to_the_bit(store, tmp_path, name):
    put(store, stage(9))  # of no study
    assert export(store, tmp_path / name) == ["first", "second"]
    report = import_(tmp_path / "there", tmp_path / name)
    assert sorted(report.took) == sorted(["first", "second"] + [
        s.address for seed in (0, 1) for s in family(seed)])
    assert not report.skipped
    assert not report.refused
    assert hashes(tmp_path / "there") == hashes(store.root, stage(9).address)
    assert check(tmp_path / "there") == []
    again = import_(tmp_path / "there", tmp_path / name)
    assert (again.took, again.refused, len(again.skipped)) == ([], [], 8)
    assert not list((tmp_path / "there" / "work").iterdir())
    assert not list(tmp_path.glob("*.tmp"))


def test_the_tar_program_reads_it(store, tmp_path):
    export(store, tmp_path / "a.tar.gz")
    shutil.unpack_archive(tmp_path / "a.tar.gz", tmp_path / "x", filter="data")
    unpacked = hashes(tmp_path / "x", "contents.json")
    assert unpacked == hashes(store.root, "store.json")


def test_an_archive_depends_on_no_clock_and_on_no_place(store, tmp_path):
    export(store, tmp_path / "a.tar.gz")
    for path in store.root.rglob("*"):
        os.utime(path, (4e9, 4e9))
    import_(tmp_path / "there", tmp_path / "a.tar.gz")
    export(store, tmp_path / "b.tar.gz")
    export(tmp_path / "there", tmp_path / "c.tar.gz")
    a, b, c = (gzip.decompress((tmp_path / f"{n}.tar.gz").read_bytes()) for n in "abc")
    assert a == b == c
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()


def test_only_what_a_named_study_rests_on_is_packed(store, tmp_path):
    assert export(store, tmp_path / "one.tar", ["fi"]) == ["first"]
    with tarfile.open(tmp_path / "one.tar") as archive:
        names = archive.getnames()
    assert {n.split("/")[1] for n in names if n.startswith("stages/")} == {
        s.address for s in family(0)}
    assert [n for n in names if n.startswith("studies/")] == ["studies/first.json"]
    with pytest.raises(ConfigError, match="unknown study 'x'"):
        export(store, tmp_path / "x.tar", ["x"])
    with pytest.raises(ConfigError, match=r"must be called something.tar.gz"):
        export(store, tmp_path / "x.zip")
    with pytest.raises(ConfigError, match="no study"):
        export(Store(tmp_path / "empty"), tmp_path / "x.tar")


def test_an_unfinished_study_and_old_results_travel_too(store, tmp_path):
    shutil.rmtree(store.folder(family(1)[2]))
    shutil.rmtree(store.folder(family(1)[1]))
    for one in (*family(0), family(1)[0]):
        path = store.folder(one) / "result.json"
        content = json.loads(path.read_text())
        del content["files"]
        path.write_text(json.dumps(content))
    export(store, tmp_path / "a.tar.gz")
    assert not import_(tmp_path / "there", tmp_path / "a.tar.gz").refused
    assert hashes(tmp_path / "there") == hashes(store.root)


def test_damage_is_not_packed(store, tmp_path):
    os.truncate(store.folder(family(0)[0]) / "weights.safetensors", 99)
    with pytest.raises(StoreError, match=rf"{family(0)[0].address} is damaged.*99 bytes.*repair"):
        export(store, tmp_path / "a.tar.gz")
    export(store, tmp_path / "a.tar.gz", ["second"])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.995), compressed=st.booleans())
def test_an_archive_cut_anywhere_takes_nothing(tmp_path_factory, share, compressed):
    folder = tmp_path_factory.mktemp("cut")
    name = "a.tar.gz" if compressed else "a.tar"
    source = two_studies(folder / "runs")
    export(source, folder / name)
    with tarfile.open(folder / name) as archive:  # what follows is padding
        last = archive.getmembers()[-1]
    end = (folder / name).stat().st_size if compressed else last.offset_data + last.size
    there = Store(folder / "there")
    put(there, stage(5))
    before = hashes(there.root)
    os.truncate(folder / name, int(share * (end - 30)))
    with pytest.raises(StoreError, match=r"cut short.*export or copy it again\.$") as caught:
        import_(there, folder / name)
    assert "\n" not in str(caught.value)
    assert hashes(there.root) == before


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8b", b"\x1f\x8b" + b"x" * 500,
                                     b"\0" * 10_240, b"x" * 10_240])
def test_what_is_no_archive_is_named(tmp_path, content):
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(StoreError, match=r"a.tar.gz cannot be used"):
        import_(tmp_path / "there", tmp_path / "a.tar.gz")
    with pytest.raises(StoreError, match="No such file"):
        import_(tmp_path / "there", tmp_path / "none.tar.gz")
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("contents", ["[]", "{}", '{"schema": 1, "stages": 5, "studies": []}', "{",
                                      '{"schema": "1", "stages": [], "studies": []}'])
def test_a_table_of_contents_of_another_form_is_named(store, tmp_path, contents):
    export(store, tmp_path / "a.tar")
    repacked(tmp_path / "a.tar", tmp_path / "b.tar.gz",
             lambda ms: [(ms[0][0], contents.encode()), *ms[1:]])
    with pytest.raises(StoreError, match="cannot be used"):
        import_(tmp_path / "there", tmp_path / "b.tar.gz")


def test_a_newer_archive_is_refused(store, tmp_path):
    export(store, tmp_path / "a.tar")
    repacked(tmp_path / "a.tar", tmp_path / "b.tar.gz",
             lambda ms: [(ms[0][0], b'{"schema": 99, "stages": [], "studies": []}'), *ms[1:]])
    with pytest.raises(StoreError, match="newer"):
        import_(tmp_path / "there", tmp_path / "b.tar.gz")


ADDRESS = family(0)[0].address
HOSTILE = {
    "absolute": member("/tmp/hostile-member"), "above": member("../hostile-member"),
    "above a stage": member(f"stages/{ADDRESS}/../../../hostile-member"),
    "the stage above": member(f"stages/{ADDRESS}/.."),
    "no address": member("stages/hostile-member/x"),
    "deeper": member(f"stages/{ADDRESS}/a/b"),
    "hidden": member(f"stages/{ADDRESS}/.bashrc"),
    "backslash": member(f"stages/{ADDRESS}/..\\x"),
    "elsewhere": member("work/hostile-member"), "marker": member("store.json"),
    "study above": member("studies/../../hostile-member.json"),
    "no study": member("studies/hostile-member.py"),
    "link": member(f"stages/{ADDRESS}/link", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": member(f"stages/{ADDRESS}/link", tarfile.LNKTYPE, "../../../hostile-member"),
    "device": member(f"stages/{ADDRESS}/null", tarfile.CHRTYPE),
    "pipe": member(f"stages/{ADDRESS}/pipe", tarfile.FIFOTYPE),
    "folder link": member(f"stages/{ADDRESS}", tarfile.SYMTYPE, "/tmp"),
    "twice": member(f"stages/{ADDRESS}/weights.safetensors"),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("first", [True, False])
def test_members_that_would_leave_their_place_are_refused(store, tmp_path, kind, first):
    export(store, tmp_path / "a.tar")
    bad = (HOSTILE[kind], b"hostile")
    repacked(tmp_path / "a.tar", tmp_path / "b.tar.gz", lambda ms: (
        [ms[0], bad, *ms[1:]] if first else [*ms, bad]))
    outside = hashes(tmp_path, "there")
    report = import_(tmp_path / "there" / "runs", tmp_path / "b.tar.gz")
    assert any(line.startswith(HOSTILE[kind].name) for line in report.refused)
    assert hashes(tmp_path, "there") == outside
    assert {p.name for p in (tmp_path / "there").iterdir()} == {"runs"}
    assert not os.path.lexists("/tmp/hostile-member")
    taken = hashes(tmp_path / "there" / "runs", ADDRESS)
    assert taken == hashes(store.root, ADDRESS)
    assert [f for f in check(tmp_path / "there" / "runs") if f.is_damage] == []
    if kind != "twice" or not first:  # the one that comes first is not what was written
        assert hashes(tmp_path / "there" / "runs") == hashes(store.root)


def changed(name, change):
    return lambda ms: [(m, change(c) if m.name.endswith(name) else c) for m, c in ms]


FALSE = {
    "weights": changed(f"{ADDRESS}/weights.safetensors", lambda c: c[:-1] + b"x"),
    "cut weights": changed(f"{ADDRESS}/weights.safetensors", lambda c: c[:-9]),
    "spec": changed(f"{ADDRESS}/spec.json", lambda c: c.replace(b"vgg16", b"vgg19")),
    "result": changed(f"{ADDRESS}/result.json", lambda c: c[:-2]),
    "deep": changed(f"{ADDRESS}/result.json", lambda c: b"[" * 100_000),
    "more files": lambda ms: [*ms, (member(f"stages/{ADDRESS}/more.pt"), b"x")],
    "fewer files": lambda ms: [m for m in ms if not m[0].name.endswith(f"{ADDRESS}/plan.json")],
    "no address": lambda ms: [*ms, (member("stages/large-0123456789abcdef/result.json"), b"{}")],
}


@pytest.mark.parametrize("kind", FALSE)
def test_a_stage_that_is_not_what_it_says_is_refused_and_the_others_are_taken(store, tmp_path,
                                                                            kind):
    export(store, tmp_path / "a.tar")
    repacked(tmp_path / "a.tar", tmp_path / "b.tar.gz", FALSE[kind])
    report = import_(tmp_path / "there", tmp_path / "b.tar.gz")
    assert len(report.refused) == 1
    refused = "large-0123456789abcdef" if kind == "no address" else ADDRESS
    assert report.refused[0].startswith(refused)
    assert hashes(tmp_path / "there") == hashes(store.root, refused)
    assert not list((tmp_path / "there" / "work").iterdir())


def test_false_studies_are_refused_and_other_ones_of_the_same_name_stay(store, tmp_path):
    export(store, tmp_path / "a.tar")
    repacked(tmp_path / "a.tar", tmp_path / "b.tar.gz", changed("first.json", lambda c: b"{}"))
    report = import_(tmp_path / "there", tmp_path / "b.tar.gz")
    assert [line.split(":")[0] for line in report.refused] == ["first"]
    assert "second" in report.took
    own = Store(tmp_path / "own")
    own.save_study("first", {"study": {"mine": 1}, "addresses": {}})
    report = import_(own, tmp_path / "a.tar")
    assert "first: another study of that name is there" in report.skipped
    assert own.studies()["first"]["study"] == {"mine": 1}


def test_a_stage_that_a_run_works_on_is_left_to_it(store, tmp_path):
    export(store, tmp_path / "a.tar")
    there = Store(tmp_path / "there")
    with there.claim(family(0)[0]) as to_do:
        assert to_do
        report = import_(there, tmp_path / "a.tar")
        assert report.skipped == [f"{ADDRESS}: a run works on it"]
    assert check(there)[0].kind == "waiting"
    assert import_(there, tmp_path / "a.tar").took == [ADDRESS]
    assert check(there) == []  # its work is gone with it


def test_disks_that_are_full_or_read_only_are_named_and_lose_nothing(store, tmp_path):
    with small_disk(tmp_path / "disk", 128) as disk:
        there = Store(disk / "there")
        put(there, stage(5))
        before = hashes(there.root)
        (disk / "filler").write_bytes(bytes(30_000))
        export(store, tmp_path / "a.tar.gz")
        with pytest.raises(StoreError, match=r"No space left.*import again"):
            import_(there, tmp_path / "a.tar.gz")
        assert hashes(there.root).items() >= before.items()
        assert [f for f in check(there) if f.kind != "waiting"] == []
        with pytest.raises(StoreError, match=r"No space left.*export again"):
            export(store, disk / "a.tar")
        assert not list(disk.glob("a.tar*"))
        (disk / "filler").unlink()
    (tmp_path / "locked").mkdir()
    with read_only(tmp_path / "locked"):
        with pytest.raises(StoreError, match="could not be written"):
            export(store, tmp_path / "locked" / "a.tar")
        with pytest.raises(StoreError, match="cannot be written"):
            import_(tmp_path / "locked" / "runs", tmp_path / "a.tar.gz")


def test_the_command_line_of_archives(store, tmp_path):
    path = tmp_path / "a.tar.gz"
    code, out, _ = call("export", path, "first", "--store", store.root)
    assert (code, out) == (0, f"{path} holds first.\n")
    code, out, _ = call("import", path, "--store", tmp_path / "there")
    assert code == 0
    assert "4 taken, 0 skipped, 0 refused." in out
    repacked(path, tmp_path / "b.tar.gz", FALSE["weights"])
    code, out, _ = call("import", tmp_path / "b.tar.gz", "--store", tmp_path / "other")
    assert code == 3
    assert f"refused {ADDRESS}: weights.safetensors is not what was written" in out
    path.write_bytes(path.read_bytes()[:2000])
    code, out, err = call("import", path, "--store", tmp_path / "third")
    assert (code, out, err.count("\n")) == (3, "", 1)
