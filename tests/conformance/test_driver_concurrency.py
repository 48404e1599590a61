"""Many processes at once, on one id and on many."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from driver_builders import add_layer, edit, file, folder, names
from driver_processes import Processes

from lamina.drivers.contract import StorageDriver
from lamina.errors import Conflict, NotFound

DriverFactory = Callable[[], StorageDriver]


def _all_at_once(processes: Processes, acts: list[Callable[[], object]]) -> None:
    """Start each in a process of its own, let them go together, and have none fail."""
    gate, opening = os.pipe()

    def waiting(act: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            os.close(opening)
            os.read(gate, 1)  # the end of the pipe: all go
            act()

        return run

    for act in acts:
        processes.start(waiting(act))
    os.close(gate)
    os.close(opening)
    assert set(processes.wait_all()) == {0}


def test_a_storm_of_snapshots_leaves_nothing(
    open_driver: DriverFactory, processes: Processes
) -> None:
    driver = open_driver()
    add_layer(driver, "base", [], folder("d"), file("d/a", "1"))

    def storm(number: int) -> Callable[[], object]:
        def run() -> None:
            own = open_driver()
            for turn in range(8):
                id = f"s{number}-{turn}"
                own.prepare(id, ["base"])
                for _ in range(4):
                    edit(own, id, lambda root: (root / "d/a").write_text(str(number)))
                root = own.mount(id)
                assert (root / "d/a").read_text() == str(number)
                own.unmount(id)
                own.remove(id)

        return run

    _all_at_once(processes, [storm(number) for number in range(16)])
    assert driver.list() == ["base"]
    assert driver.leftovers() == []
    with driver.view(["base"]) as root:
        assert (root / "d/a").read_text() == "1"


def test_of_many_who_make_one_id_one_wins(open_driver: DriverFactory, processes: Processes) -> None:
    driver = open_driver()
    add_layer(driver, "base", [], file("a"))
    read, write = os.pipe()

    def make() -> None:
        own = open_driver()
        try:
            own.prepare("x", ["base"])
            os.write(write, b"!")
        except Conflict:
            pass

    _all_at_once(processes, [make] * 12)
    os.close(write)
    assert os.read(read, 100) == b"!"
    os.close(read)
    assert driver.list() == ["base", "x"]
    assert driver.leftovers() == []


def test_of_many_who_commit_onto_one_id_one_wins_and_the_others_keep_theirs(
    open_driver: DriverFactory, processes: Processes
) -> None:
    driver = open_driver()
    for number in range(8):
        driver.prepare(f"s{number}", [])

    def commit(number: int) -> Callable[[], object]:
        def run() -> None:
            try:
                open_driver().commit(f"s{number}", "layer")
            except Conflict:
                assert open_driver().exists(f"s{number}")

        return run

    _all_at_once(processes, [commit(number) for number in range(8)])
    found = driver.list()
    assert found[0] == "layer"
    assert len(found) == 8


def test_many_who_remove_one_id_all_succeed(
    open_driver: DriverFactory, processes: Processes
) -> None:
    driver = open_driver()
    for _ in range(5):
        add_layer(driver, "x", [], *(file(f"d{n}/f{n}") for n in range(200)))
        add_layer(driver, "keep", [], file("a")) if not driver.exists("keep") else None
        _all_at_once(processes, [lambda: open_driver().remove("x")] * 6)
        assert driver.list() == ["keep"]
        driver.sweep()
        assert driver.leftovers() == []


def test_a_parent_is_removed_or_stood_upon_never_both(
    open_driver: DriverFactory, processes: Processes
) -> None:
    driver = open_driver()
    for turn in range(10):
        base, id = f"base{turn}", f"w{turn}"
        add_layer(driver, base, [], file("a", "1"))

        def remove(base: str = base) -> None:
            with suppress(Conflict):
                open_driver().remove(base)

        def prepare(base: str = base, id: str = id) -> None:
            with suppress(NotFound):
                open_driver().prepare(id, [base])

        _all_at_once(processes, [remove, prepare])
        assert driver.exists(base) == driver.exists(id)
        if driver.exists(id):
            assert names(driver.mount(id)) == ["a"]
            driver.unmount(id)


def test_many_who_mount_and_unmount_one_snapshot_end_with_none(
    open_driver: DriverFactory, processes: Processes
) -> None:
    driver = open_driver()
    add_layer(driver, "base", [], file("a", "1"))
    driver.prepare("w", ["base"])

    def use(number: int) -> Callable[[], object]:
        def run() -> None:
            own = open_driver()
            for _ in range(20):
                root = own.mount("w", holder=f"p{number}")
                assert (root / "a").read_text() == "1"  # nobody unmounts it under us
                own.unmount("w", holder=f"p{number}")

        return run

    _all_at_once(processes, [use(number) for number in range(8)])
    driver.remove("w")  # which it would refuse, were it mounted


def test_layers_of_an_image_can_be_written_at_once(
    open_driver: DriverFactory, processes: Processes
) -> None:
    driver = open_driver()
    add_layer(driver, "base", [], file("a"))
    if driver.capabilities.layers_depend_on_parent:
        chains: list[list[str]] = [["base"]] * 6
    else:
        chains = [["base"]] * 3 + [[]] * 3
    acts = [
        lambda n=n, chain=chain: add_layer(
            open_driver(), f"c{n}", chain, *(file(f"d/{n}-{i}") for i in range(300))
        )
        for n, chain in enumerate(chains)
    ]
    _all_at_once(processes, acts)
    for number, chain in enumerate(chains):
        with driver.view([*chain, f"c{number}"]) as root:
            assert len(os.listdir(root / "d")) == 300


def test_sweeping_spares_what_others_make(open_driver: DriverFactory, processes: Processes) -> None:
    driver = open_driver()

    def make() -> None:
        own = open_driver()
        for turn in range(20):
            id = f"c{os.getpid()}-{turn}"
            add_layer(own, id, [], file("a"))
            own.remove(id)
        add_layer(own, f"kept-{os.getpid()}", [], file("a"))

    def sweep() -> None:
        own = open_driver()
        for _ in range(50):
            own.sweep()

    _all_at_once(processes, [make, make, make, sweep, sweep])
    driver.sweep()
    assert len(driver.list()) == 3
    assert driver.leftovers() == []
