"""`pushloss doctor`: what it looked at, what was wrong, what it did."""


def test_before_the_first_load_all_is_well(shop, pushloss):
    """Nothing is asked, nothing is made."""
    ran = pushloss("doctor")

    assert 0 == ran.code and 10 == ran.out.count("✓")
    assert [] == shop.calls()
    assert not (shop.folder / "data" / "lake").exists()


def test_what_is_broken_is_told_and_mended(shop, pushloss, week):
    """Looking ends in exit 1; mending in exit 0, and so does the next look."""
    pushloss("load", str(week[0]), str(week[0]), "--app", "app_0000")
    loaded = pushloss("sql", "from push_loss order by all", "--format", "csv").out
    lake = shop.folder / "data" / "lake" / "push_loss_revisions"
    for path in lake.rglob("*.parquet"):
        path.unlink()

    looked = pushloss("doctor", "--no-repair")
    mended = pushloss("doctor")
    again = pushloss("doctor", "--no-repair")

    assert 1 == looked.code and "is missing" in looked.out
    assert "✗ files of push_loss_revisions" in looked.out
    assert "mended:" not in looked.out
    assert 0 == mended.code and "mended:" in mended.out and "✗" not in mended.out
    assert 0 == again.code and 10 == again.out.count("✓")
    assert "schema version: push_loss_responses 2, push_loss_revisions 2" in again.out
    sql = pushloss("sql", "from push_loss order by all", "--format", "csv")
    assert loaded == sql.out


def test_what_cannot_be_mended_is_told_with_the_command(shop, pushloss, week):
    """Lost answers end in exit 1 until they are asked for again."""
    day = str(week[0])
    pushloss("load", day, day, "--app", "app_0000")
    lake = shop.folder / "data" / "lake" / "push_loss_responses"
    for path in lake.rglob("*.parquet"):
        path.unlink()

    ran = pushloss("doctor")

    assert 1 == ran.code
    assert f"→ pushloss load {day} {day} --app app_0000" in ran.out
    assert 0 == pushloss("load", day, day, "--app", "app_0000").code
    assert 0 == pushloss("doctor").code


def use_zone(shop, zone):
    """Change the zone of a configuration that had the default."""
    shop.config.write_text(f'timezone = "{zone}"\n' + shop.config.read_text())


def test_another_zone_is_refused(shop, pushloss, week):
    """Days that were cut otherwise are not mixed with new ones: exit 2, in words."""
    day = str(week[0])
    pushloss("load", day, day, "--app", "app_0000")
    called = len(shop.calls())
    use_zone(shop, "Europe/Berlin")

    for command in (
        ("load", day, day),
        ("replay", day, day),
        ("accept", day, "--app", "app_0000"),
        ("accept", day, "--app", "app_0000", "--undo"),
        ("report",),
        ("check",),
    ):
        ran = pushloss(*command)
        assert 2 == ran.code, command
        assert f"timezone Europe/Berlin of {shop.config} cuts {day} from" in ran.err
        assert "set timezone back, or choose another data_dir" in ran.err

    assert called == len(shop.calls())
    ran = pushloss("doctor")
    assert 1 == ran.code and "✗ time zone" in ran.out


def test_a_zone_that_cuts_the_same_days_is_as_good(shop, pushloss, week):
    """Singapore's days are Shanghai's."""
    day = str(week[0])
    pushloss("load", day, day, "--app", "app_0000")
    use_zone(shop, "Asia/Singapore")

    assert 0 == pushloss("load", day, day, "--app", "app_0000").code
    assert 0 == pushloss("doctor").code


def test_a_wrong_option_is_wrong_usage(pushloss):
    """Exit 2, as everywhere."""
    assert 2 == pushloss("doctor", "--repair-all").code
