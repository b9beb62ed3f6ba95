"""The home folder is for one user alone, whoever makes it, and whatever the umask is."""

from __future__ import annotations

import os

import pytest

from bridge import Bridge, Settings
from bridge.cli.stack import prepare
from bridge.errors import SettingsError
from bridge.home import make_home
from workers.app import new_app


@pytest.fixture(autouse=True)
def generous():
    """The umask that leaves everything readable, and writable by the group."""
    before = os.umask(0o002)
    yield
    os.umask(before)


def mode(path):
    return path.stat().st_mode & 0o777


def declare(settings):
    with Bridge(settings=settings) as bridge, bridge.app.connection() as connection:
        connection.default_channel.queue_declare("celery")


MAKERS = {
    "a service": lambda settings: Bridge(settings=settings).app.close(),
    "a worker": lambda settings: new_app(settings).close(),
    "taskbridge up": prepare,
    "the embedded broker": declare,
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_whoever_makes_the_home_makes_it_for_its_user_alone(tmp_path, make):
    home = tmp_path / "above" / ".taskbridge"
    make(Settings(home=home, secret=("s" * 32,)))
    assert mode(home) == 0o700


def test_a_home_that_is_open_to_others_is_closed_with_a_line(tmp_path, caplog):
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    make_home(home)
    make_home(home)
    assert mode(home) == 0o700
    assert [one.getMessage() for one in caplog.records] == [
        f"taskbridge: {home} was open to other users; it is closed to them now"
    ]


def test_a_home_that_a_group_shares_stays_so(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o770)
    assert mode(make_home(home)) == 0o770


@pytest.mark.parametrize("bits", [0o777, 0o1777])
def test_a_folder_that_every_user_writes_to_is_no_home(tmp_path, bits):
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(bits)
    with pytest.raises(SettingsError, match=f"TASKBRIDGE_HOME={home} can be written to by every"):
        make_home(home)
    assert home.stat().st_mode & 0o7777 == bits


def test_a_home_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be made: Not a directory; name a"):
        make_home(tmp_path / "file" / "home")
